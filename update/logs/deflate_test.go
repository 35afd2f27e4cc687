package logs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// inflated decompresses a stream that has no end yet.
func inflated(t *testing.T, stream []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != io.ErrUnexpectedEOF {
		t.Fatalf("end of the stream: %v", err)
	}
	return got
}

func TestDeflate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 70000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, `{"message":"request %d took %d ms","timestamp":17000000%05d,"serviceId":31}`+"\n", i, r.IntN(999), i)
	}
	f := func(name string, parts ...string) {
		t.Helper()
		d := newDeflater()
		var stream, want []byte
		for i, p := range parts {
			d.write([]byte(p))
			want = append(want, p...)
			if i%2 == 0 {
				d.flush()
			}
			stream = append(stream, d.take()...)
			if got := inflated(t, stream); i%2 == 0 && !bytes.Equal(got, want) {
				t.Fatalf("%s, part %d: %d bytes of %d, or other ones", name, i, len(got), len(want))
			}
		}
		d.finish()
		z, err := gzip.NewReader(bytes.NewReader(append(stream, d.take()...)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) { // it checks sum and length
			t.Fatalf("%s, finished: %d bytes of %d: %v", name, len(got), len(want), err)
		}
	}
	f("nothing", "")
	f("one byte", "x")
	f("one byte often", "x", "x", "", "x", "x")
	f("a run", strings.Repeat("a", 100000))
	f("lengths", "abcdefgh", "abcdefg", "abcdef", "abcde", "abcd", "abc")
	f("noise", string(noise), string(noise[:5000]), string(noise))
	f("lines", strings.SplitAfterN(lines.String(), "7", 200)...)
	f("lines at once", lines.String())
}

func TestDeflateIsWorthIt(t *testing.T) {
	d := newDeflater()
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, `{"message":"GET /api/v1/things/%d 200 %d ms","timestamp":1700000%06d,"serviceId":31}`+"\n", i*7919%1000, i%37, i)
	}
	d.write([]byte(lines.String()))
	if n := len(d.take()); n*3 > lines.Len() {
		t.Errorf("%d bytes became %d", lines.Len(), n)
	}
}

func FuzzDeflate(f *testing.F) {
	f.Add([]byte("abcabcabcabcd"), 3)
	f.Fuzz(func(t *testing.T, p []byte, at int) {
		d := newDeflater()
		cut := 0
		if len(p) > 0 {
			cut = int(uint(at) % uint(len(p)))
		}
		d.write(p[:cut])
		d.flush()
		d.write(p[cut:])
		d.flush()
		if got := inflated(t, d.take()); !bytes.Equal(got, p) {
			t.Errorf("%d bytes became %d, or other ones", len(p), len(got))
		}
	})
}
