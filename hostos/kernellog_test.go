package hostos

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestIsUndervoltage(t *testing.T) {
	for message, want := range map[string]bool{
		"hwmon hwmon1: Undervoltage detected!":  true,
		"Under-voltage detected! (0x00050005)":  true,
		"rpi_volt: UNDER VOLTAGE":               true,
		"hwmon hwmon1: Voltage normalised":      false,
		"voltage is under 5 V":                  false,
		"br-584a2fa83813: port 1 entered state": false,
		"":                                      false,
	} {
		if got := isUndervoltage(message); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
}

func TestParseRecord(t *testing.T) {
	for record, want := range map[string]struct {
		sequence uint64
		message  string
	}{
		"4,339,5140900,-;Under-voltage detected! (0x00050005)\n SUBSYSTEM=hwmon\n DEVICE=+hwmon:hwmon1\n": {339, "Under-voltage detected! (0x00050005)"},
		"6,18446744073709551615,1,c,caller=T1;a;b\n":                                                      {1<<64 - 1, "a;b"},
		"nonsense": {0, ""},
		"":         {0, ""},
		"6,x,1;m":  {0, "m"},
	} {
		if sequence, message := parseRecord([]byte(record)); sequence != want.sequence || message != want.message {
			t.Errorf("%q: %d %q", record, sequence, message)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("4,339,5140900,-;Under-voltage detected!\n SUBSYSTEM=hwmon\n"))
	f.Add([]byte(";\n"))
	f.Fuzz(func(t *testing.T, record []byte) {
		_, message := parseRecord(record)
		if len(message) > len(record) {
			t.Fatalf("%q from %q", message, record)
		}
		_ = isUndervoltage(message)
	})
}

// The log is a pipe that preserves records, and a file with the oldest record.
func TestUndervoltageFollowsTheLog(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_DIRECT|unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	log, kernel := os.NewFile(uintptr(fds[0]), "log"), os.NewFile(uintptr(fds[1]), "kernel")
	defer log.Close()
	oldest := filepath.Join(t.TempDir(), "kmsg")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(oldest, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say := func(text string) {
		t.Helper()
		if _, err := kernel.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("6,0,1,-;Booting Linux\n")
	u := &Undervoltage{path: oldest}
	reported, ended := make(chan bool, 9), make(chan bool)
	go func() {
		u.follow(log, func() { reported <- true })
		close(ended)
	}()
	say("6,0,1,-;Booting Linux\n")
	say("4,7,2,-;Under-voltage detected!\n SUBSYSTEM=hwmon\n")
	wait(t, reported)
	if !u.Seen() {
		t.Fatal("the warning was not seen")
	}
	say("4,9,3,-;Undervoltage detected!\n") // reported already
	say("6,10,4,-;Voltage normalised\n")
	for u.last.Load() != 10 { // until the second warning is read
		time.Sleep(time.Millisecond)
	}
	write("6,9,3,-;Undervoltage detected!\n")
	if !u.Seen() {
		t.Fatal("forgotten, although the log still has it")
	}
	write("6,10,4,-;Voltage normalised\n")
	if u.Seen() {
		t.Fatal("remembered, although the log no longer has it")
	}
	say("4,11,5,-;Undervoltage detected!\n")
	wait(t, reported)
	if !u.Seen() || len(reported) != 0 {
		t.Fatalf("seen %v, reported %d times too often", u.Seen(), len(reported))
	}
	_ = kernel.Close()
	wait(t, ended)
}

func wait(t *testing.T, c <-chan bool) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing within 10 s")
	}
}

// The log of this machine is read to its end without polling, and is closed at once at the end of the context.
func TestUndervoltageOfThisMachine(t *testing.T) {
	const path = "/dev/kmsg"
	log, err := openLog(path)
	if err != nil {
		u, err := WatchUndervoltage(context.Background(), path, nil)
		if err == nil || u.Seen() {
			t.Fatalf("a log that cannot be read: %v, seen %v", err, u.Seen())
		}
		return
	}
	defer log.Close()
	u, ended := &Undervoltage{path: path}, make(chan bool)
	go func() {
		u.follow(log, nil)
		close(ended)
	}()
	time.Sleep(50 * time.Millisecond) // until it waits for a record
	if err := log.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatalf("waiting for the log failed: %v", err)
	}
	wait(t, ended)
	if sequence, ok := u.oldest(); !ok {
		t.Fatalf("the oldest record: %d, %v", sequence, ok)
	}
}

func TestUndervoltageWithoutALog(t *testing.T) {
	u, err := WatchUndervoltage(context.Background(), filepath.Join(t.TempDir(), "none"), nil)
	if err == nil || u.Seen() {
		t.Fatalf("%v, seen %v", err, u.Seen())
	}
}
