package harness

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// SmallEngine is an engine with a file system of this size for its data, which a test can fill. The shared engine
// of the package is stopped meanwhile, since both would use the same network.
func SmallEngine(t testing.TB, size int64) *Engine {
	t.Helper()
	SharedEngine(t).Stop(t)
	dir, err := os.MkdirTemp(shared(t).dir, "small-")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := mountSmall(filepath.Join(dir, "disk"), data, size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(dir) })
	e, err := newEngine(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.dumpLog(t); e.discard() })
	return e
}

// StoppedEngine is an engine that the test has to start, with arguments in addition to those of all engines. The
// shared engine of the package is stopped meanwhile.
func StoppedEngine(t testing.TB, args ...string) *Engine {
	t.Helper()
	SharedEngine(t).Stop(t)
	dir, err := os.MkdirTemp(shared(t).dir, "engine-")
	if err != nil {
		t.Fatal(err)
	}
	e := stoppedEngine(dir)
	e.args = args
	t.Cleanup(func() { e.dumpLog(t); e.discard() })
	return e
}

// EngineWithout is a StoppedEngine for which cgroup controllers are not mounted, as on the kernels of small boards.
func EngineWithout(t testing.TB, controllers ...string) *Engine {
	t.Helper()
	for _, c := range controllers {
		if _, err := os.Stat(filepath.Join("/sys/fs/cgroup", c)); err != nil {
			t.Skipf("controllers of this machine cannot be hidden from an engine one by one: %v", err)
		}
	}
	e := StoppedEngine(t)
	e.lacks = controllers
	return e
}

// mountSmall makes an ext4 file system in a file and mounts it. A loop device that somebody left read-only is made
// writable: the kernel keeps that from one file to the next.
func mountSmall(disk, data string, size int64) error {
	if err := errors.Join(os.Mkdir(data, 0o755), os.WriteFile(disk, nil, 0o600), os.Truncate(disk, size)); err != nil {
		return err
	}
	if _, err := TryTool("mkfs.ext4", "-q", "-m", "0", disk); err != nil { // nothing is reserved for root
		return err
	}
	device, err := TryTool("losetup", "--find", "--show", disk)
	if err != nil {
		return err
	}
	defer TryTool("losetup", "--detach", device) // once it is unmounted
	if _, err := TryTool("blockdev", "--setrw", device); err != nil {
		return err
	}
	_, err = TryTool("mount", device, data)
	return err
}

// Fill leaves so many bytes free on the engine's file system; a negative number frees all that an
// earlier Fill took.
func (e *Engine) Fill(t testing.TB, leave int64) {
	t.Helper()
	data := filepath.Join(e.dir, "data")
	filler := filepath.Join(data, "filler")
	os.Remove(filler)
	var fs syscall.Statfs_t
	if err := syscall.Statfs(data, &fs); err != nil {
		t.Fatal(err)
	}
	take := int64(fs.Bavail)*fs.Bsize - leave
	if leave < 0 {
		return
	}
	if take < 0 {
		t.Fatalf("%d bytes are free on the engine's file system, less than %d", take+leave, leave)
	}
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, take); err != nil {
		t.Fatal(err)
	}
}

// SmallDevice is a started supervisor on an engine with little storage, and the registry of its images,
// which must be asked for before the shared engine is stopped.
func SmallDevice(t testing.TB, size int64) (*Supervisor, *Registry) {
	t.Helper()
	registry := SharedRegistry(t)
	s := NewSupervisor(t, Setup{Engine: SmallEngine(t, size)})
	s.Start()
	return s, registry
}
