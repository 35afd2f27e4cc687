package board_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

const sector = 512

// diskSize is the size of a boot partition here, in bytes: the least that is FAT with 16 bits.
const diskSize = 2400 << 10

// format makes a boot partition with files in it. Most of its room is taken, so that the rest is soon full.
func format(t *testing.T, files map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, os.Truncate(path, diskSize))
	run(t, "mkfs.vfat", "-F", "16", "-s", "1", "-n", "resin-boot", path)
	files["ballast"] = string(make([]byte, 2200<<10))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		from := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(from, []byte(content), 0o644))
		if dir := filepath.Dir(name); dir != "." {
			run(t, "mmd", "-i", path, "::/"+dir)
		}
		run(t, "mcopy", "-i", path, from, "::/"+name)
	}
	return path
}

func run(t *testing.T, command ...string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
}

// write is one that a board did to a disk.
type write struct {
	at   int64
	data []byte
}

// writes reads the log of a disk, in the format of the kernel's dm-log-writes: a head, then for each write
// sector, number of sectors, flags and length of the data, and the data. The emulator was killed, so that
// the number of writes in the head may be an old one.
func writes(t *testing.T, path string) (list []write) {
	t.Helper()
	log, err := os.ReadFile(path)
	must(t, err)
	for log = log[min(sector, len(log)):]; len(log) > sector; {
		word := func(i int) int64 { return int64(binary.LittleEndian.Uint64(log[8*i:])) }
		at, length, flags := word(0)*sector, word(1)*sector, word(2)
		if length == 0 && flags == 0 {
			break
		}
		log = log[sector:]
		if int64(len(log)) < length {
			break
		}
		if length > 0 {
			list = append(list, write{at, log[:length]})
			log = log[length:]
		}
	}
	return list
}

// cuts are the disks that the power cuts leave: as it was, and after each write that changed something.
func cuts(disk []byte, list []write) (all [][]byte) {
	disk = bytes.Clone(disk)
	all = append(all, bytes.Clone(disk))
	for _, w := range list {
		for done := 0; done < len(w.data); done += sector { // a sector is what a medium writes whole
			place := disk[w.at+int64(done):][:sector]
			if now := w.data[done:][:sector]; !bytes.Equal(place, now) {
				copy(place, now)
				all = append(all, bytes.Clone(disk))
			}
		}
	}
	return all
}

// join writes images one after the other and says how many there are.
func join(t *testing.T, all [][]byte) (path, words string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "images")
	must(t, os.WriteFile(path, bytes.Join(all, nil), 0o644))
	return path, "count=" + strconv.Itoa(len(all)) + " size=" + strconv.Itoa(len(all[0]))
}

// share makes the directory entry of one file, by its short name, lead to the clusters of another one, as a
// power cut between the two halves of a renaming does.
func share(t *testing.T, disk []byte, with, entry string) {
	t.Helper()
	number := func(at int) int { return int(binary.LittleEndian.Uint16(disk[at:])) }
	root := (number(14) + int(disk[16])*number(22)) * sector // after reserved sectors and the tables
	find := func(short string) []byte {
		for at := root; at < root+number(17)*32; at += 32 {
			if string(disk[at:at+11]) == short {
				return disk[at:][:32]
			}
		}
		t.Fatalf("no entry %q", short)
		return nil
	}
	copy(find(entry)[26:], find(with)[26:]) // first cluster and size
}
