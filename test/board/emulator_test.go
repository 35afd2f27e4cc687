// Package board_test runs our program on emulated ARM boards with a boot partition of FAT, and cuts their
// power. It needs what `make test-board` brings along.
package board_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What `make test-board` sets. Without it the tests are left out.
const (
	envDir   = "RESIN_BOARD_DIR"            // kernels, as fetch.sh unpacks them
	envARMv6 = "RESIN_SUPERVISOR_BIN_ARMV6" // our program for the Pi Zero
	envARMv7 = "RESIN_SUPERVISOR_BIN_ARMV7" // and for the board with a Cortex-A7
)

func TestMain(m *testing.M) {
	if os.Getenv(envDir) == "" {
		fmt.Println("left out: make test-board runs them")
		return
	}
	os.Exit(withFixtures(m.Run))
}

// fixtures is the folder of the first process of a board, one program for each GOARM.
var fixtures string

func withFixtures(run func() int) int {
	dir, err := os.MkdirTemp("", "board-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	fixtures = dir
	for _, m := range []model{zero, virt} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, m.goarm), "../fixture/board")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm", "GOARM="+m.goarm)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
			return 1
		}
	}
	return run()
}

// patience is how long anything may take on a busy machine.
const patience = 15 * time.Minute

// model is a kind of board.
type model struct {
	kernel  string // folder of its kernel, below that of all
	goarm   string
	program string
	qemu    []string
	console string
	drivers []string // modules, in the order of loading
}

var (
	fat  = []string{"fs/fat/fat", "fs/fat/vfat", "fs/nls/nls_cp437", "fs/nls/nls_ascii", "drivers/block/loop"}
	zero = model{"k-armel", "6", envARMv6, []string{"-M", "raspi0", "-m", "512", "-dtb", "usr/lib/linux-image-*-rpi/bcm2835-rpi-zero.dtb"},
		"earlycon=pl011,mmio32,0x20201000 console=ttyAMA0,115200 initcall_blacklist=bcm2835_power_driver_init", fat}
	virt = model{"k-armhf", "7", envARMv7, []string{"-M", "virt", "-cpu", "cortex-a7", "-m", "512", "-nic", "none"}, "console=ttyAMA0",
		append([]string{"drivers/virtio/virtio_mmio", "drivers/block/virtio_blk"}, fat...)}
)

// find is the one file that a pattern below the kernel's folder means.
func (m *model) find(t *testing.T, pattern string) string {
	t.Helper()
	pattern = filepath.Join(os.Getenv(envDir), m.kernel, pattern)
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v (%v)", pattern, found, err)
	}
	return found[0]
}

// board is one that runs.
type board struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

// start boots a board that does a task. Each disk is a file, and a log of what is written to it unless empty;
// files go into its memory.
func (m model) start(t *testing.T, task string, disks [][2]string, files map[string]string) *board {
	t.Helper()
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	m.pack(t, initrd, files)
	args := slices.Clone(m.qemu)
	for i, arg := range args {
		if strings.Contains(arg, "*") {
			args[i] = m.find(t, arg)
		}
	}
	for i, d := range disks {
		node := fmt.Sprint("disk", i)
		args = append(args, "-blockdev", "driver=file,filename="+d[0]+",node-name="+node)
		if d[1] != "" {
			args = append(args, "-blockdev", "driver=file,filename="+d[1]+",node-name=log"+node,
				"-blockdev", "driver=blklogwrites,file="+node+",log=log"+node+",log-sector-size=512,node-name=seen"+node)
			node = "seen" + node
		}
		args = append(args, "-device", "virtio-blk-device,drive="+node)
	}
	args = append(args, "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot", "-kernel", m.find(t, "boot/vmlinuz-*"),
		"-initrd", initrd, "-append", m.console+" rdinit=/init panic=-1 "+task)
	b := &board{t: t, cmd: exec.Command("qemu-system-arm", args...), lines: make(chan string, 1<<16)}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := b.cmd.StdoutPipe()
	must(t, err)
	var errs bytes.Buffer
	b.cmd.Stderr = &errs
	console, err := os.Create(filepath.Join(dir, "console"))
	must(t, err)
	must(t, b.cmd.Start())
	go func() {
		defer console.Close()
		defer close(b.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := strings.TrimRight(lines.Text(), "\r")
			fmt.Fprintln(console, line)
			if said, ok := strings.CutPrefix(line, "== "); ok {
				b.lines <- said
			}
		}
	}()
	t.Cleanup(func() {
		b.cut()
		if t.Failed() {
			text, _ := os.ReadFile(console.Name())
			t.Logf("console of the board:\n%s%s", text[max(0, len(text)-4000):], errs.String())
		}
	})
	return b
}

// cut ends the emulator: what the board had not written to its disks is lost.
func (b *board) cut() {
	if b.cmd.ProcessState == nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
	}
}

// until gives what the board says up to and with the line that begins with end.
func (b *board) until(end string) []string {
	b.t.Helper()
	var said []string
	late := time.After(patience)
	for {
		select {
		case line, ok := <-b.lines:
			if !ok || strings.HasPrefix(line, "failed") || strings.HasPrefix(line, "ended") {
				b.t.Fatalf("the board stopped: %s", line)
			}
			if said = append(said, line); strings.HasPrefix(line, end) {
				return said
			}
		case <-late:
			b.t.Fatalf("the board did not say %q", end)
		}
	}
}

// pack writes the archive that the kernel unpacks into its memory.
func (m *model) pack(t *testing.T, path string, files map[string]string) {
	t.Helper()
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	number := 0
	add := func(name string, mode int, content []byte) {
		number++
		fmt.Fprintf(z, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		pad := func(n int) { z.Write(make([]byte, (4-n%4)%4)) }
		fmt.Fprint(z, name, "\x00")
		pad(110 + len(name) + 1)
		z.Write(content)
		pad(len(content))
	}
	file := func(name, from string) {
		content, err := os.ReadFile(from)
		must(t, err)
		add(name, 0o100755, content)
	}
	add("modules", 0o40755, nil)
	for i, name := range m.drivers {
		file(fmt.Sprintf("modules/%d.ko", i), m.find(t, "lib/modules/*/kernel/"+name+".ko"))
	}
	file("init", filepath.Join(fixtures, m.goarm))
	if program := os.Getenv(m.program); program != "" {
		file("resin-supervisor", program)
	}
	for name, from := range files {
		file(name, from)
	}
	add("TRAILER!!!", 0, nil)
	must(t, z.Close())
	must(t, os.WriteFile(path, archive.Bytes(), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
