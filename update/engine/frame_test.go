package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const stampText = "2026-01-02T03:04:05.000000006Z "

// frame is one frame of output n.
func frame(n byte, payload string) string {
	head := []byte{n, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[4:], uint32(len(payload)))
	return string(head) + payload
}

// show writes a line as "out|err [stamped] text", long text by its length.
func show(l LogLine) string {
	s := "out "
	if l.Stderr {
		s = "err "
	}
	if l.At.Equal(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)) {
		s += "stamped "
	}
	if l.Rest {
		s += "+ "
	}
	if len(l.Text) > 100 {
		return fmt.Sprintf("%s%d", s, len(l.Text))
	}
	return s + string(l.Text)
}

func readLog(r io.Reader, tty bool, fn func(LogLine)) (fault string, err error) {
	d := newDecoder(tty, fn)
	if err := readAll(r, d.write); err != nil {
		return "", err
	}
	return d.end()
}

// logOf decodes the output in one read and byte by byte. Both must give the same result.
func logOf(t *testing.T, tty bool, stream string) (got []string, fault string, err error) {
	t.Helper()
	gather := func(r io.Reader) {
		got = nil
		fault, err = readLog(r, tty, func(l LogLine) { got = append(got, show(l)) })
	}
	gather(strings.NewReader(stream))
	whole, wholeErr := got, err
	gather(iotest.OneByteReader(strings.NewReader(stream)))
	if !slices.Equal(got, whole) || !errors.Is(err, wholeErr) {
		t.Errorf("%.80q: byte by byte %q %v, at once %q %v", stream, got, err, whole, wholeErr)
	}
	return got, fault, err
}

func TestLogOfTerminal(t *testing.T) {
	f := func(stream string, want ...string) {
		t.Helper()
		got, _, err := logOf(t, true, stream)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%.80q: got %q %v, want %q", stream, got, err, want)
		}
	}
	f("")
	f(stampText+"one\r\n"+stampText+"two\r\n", "out stamped one", "out stamped two")
	f(stampText+"\r\n", "out stamped ")
	f("no stamp\n", "out no stamp")
	f("word that comes first is no stamp and the line is long\n", "out word that comes first is no stamp and the line is long")
	f(stampText+"no end", "out stamped no end")
	f(stampText) // a last line without text is dropped
	long := strings.Repeat("x", maxLine)
	f(stampText+long+stampText+"rest\r\n", "out stamped 16384", "out stamped + rest") // as the engine splits lines
	f(stampText+long+"rest\r\n", "out stamped 16384", "out + rest")
	f(stampText+long+"\r\n"+stampText+"two\r\n", "out stamped 16384", "out stamped two")
	f(stampText+long+stampText+"\r\n"+stampText+"two\r\n", "out stamped 16384", "out stamped two")
	f(strings.Repeat("x", 3*maxLine)+"\n", "out 16384", "out + 16384", "out + 16384")
}

func TestLogOfFrames(t *testing.T) {
	f := func(stream string, want ...string) {
		t.Helper()
		got, _, err := logOf(t, false, stream)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%.80q: got %q %v, want %q", stream, got, err, want)
		}
	}
	f("")
	f(frame(1, stampText+"one\n")+frame(2, stampText+"two\n"), "out stamped one", "err stamped two")
	f(frame(0, stampText+"one\n"), "out stamped one")
	f(frame(1, "a\nb\n"), "out a", "out b")
	f(frame(1, "")+frame(1, "a\n"), "out a")
	f(frame(1, stampText+"no end"), "out stamped no end")
	long := strings.Repeat("x", maxLine)
	f(frame(1, stampText+long)+frame(2, stampText+"between\n")+frame(1, stampText+"rest\n"),
		"out stamped 16384", "err stamped between", "out stamped + rest")
	f(frame(1, stampText+long+long+"\n"), "out stamped 16384", "out + 16384")
}

func TestLogFramesFaults(t *testing.T) {
	f := func(stream string, wantFault string, want error) {
		t.Helper()
		_, fault, err := logOf(t, false, stream)
		if fault != wantFault || !errors.Is(err, want) {
			t.Errorf("%.80q: got %q %v, want %q %v", stream, fault, err, wantFault, want)
		}
	}
	whole := frame(1, "one\n")
	f(whole+frame(3, "Error grabbing logs: gone\n"), "Error grabbing logs: gone", nil)
	f(whole[:5], "", io.ErrUnexpectedEOF)
	f(whole[:10], "", io.ErrUnexpectedEOF)
	f(frame(4, "one\n"), "", errFrame)
	f("\x01\x00\x01\x00\x00\x00\x00\x01a", "", errFrame)
	f(stampText+"terminal output taken for frames\r\n", "", errFrame)
}

func FuzzReadLog(f *testing.F) {
	f.Add([]byte(frame(1, stampText+"one\n")+frame(2, "two")), false)
	f.Add([]byte(frame(3, "fault")), false)
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xffaaaa"), false)
	f.Add([]byte(stampText+"one\r\ntwo"), true)
	f.Add(bytes.Repeat([]byte("x"), 2*maxLine), true)
	f.Fuzz(func(t *testing.T, stream []byte, tty bool) {
		var total int
		gather := func(r io.Reader) (all []string) {
			readLog(r, tty, func(l LogLine) {
				if len(l.Text) > maxLine || bytes.IndexByte(l.Text, '\n') >= 0 {
					t.Fatalf("line of %d bytes: %.40q", len(l.Text), l.Text)
				}
				total += len(l.Text)
				all = append(all, show(l))
			})
			return all
		}
		whole := gather(bytes.NewReader(stream))
		if total > len(stream) {
			t.Fatalf("%d bytes of text from %d", total, len(stream))
		}
		if split := gather(iotest.HalfReader(bytes.NewReader(stream))); !slices.Equal(whole, split) {
			t.Fatalf("at once %q, in halves %q", whole, split)
		}
	})
}
