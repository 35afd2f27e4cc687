package engine

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestFollowPull(t *testing.T) {
	f := func(stream string, wantErr string, want ...int) {
		t.Helper()
		var got []int
		err := followPull(strings.NewReader(stream), request{op: "pull", object: "a:1"}, func(n int) { got = append(got, n) })
		if text := errText(err); text != wantErr {
			t.Errorf("%s: error %q, want %q", stream, text, wantErr)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: percents %v, want %v", stream, got, want)
		}
	}
	layer := `{"status":"Pulling fs layer","progressDetail":{},"id":"a"}` + "\r\n" +
		`{"status":"Downloading","progressDetail":{"current":1,"total":2},"progress":"[>  ]","id":"a"}` + "\r\n"
	done := `{"status":"Status: Downloaded newer image for a:1"}` + "\r\n"
	f(layer+done, "", 0, 25, 100)
	f(layer+layer+done+done, "", 0, 25, 100)
	f(`{"status":"Status: a"}{"status":"Status: b"}`, "", 0, 100) // objects need no line ends
	f("", "", 0, 100)
	f(layer+`{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}`, "pull a:1: unexpected EOF", 0, 25)
	f(layer+`{"error":"denied"}`+done, "pull a:1: denied", 0, 25)
	f(layer+`{"status":"Pul`, "unexpected EOF", 0, 25)
	f(layer+`]`, "invalid character ']' looking for beginning of value", 0, 25)
	f(`{"status":"`+strings.Repeat("a", 2*maxObject)+`"}`, "object is too long", 0)
}

func TestFollowPullStatus(t *testing.T) {
	f := func(stream string, want int) {
		t.Helper()
		if got := status(followPull(strings.NewReader(stream), request{}, nil)); got != want {
			t.Errorf("%s: status %d, want %d", stream, got, want)
		}
	}
	f(`{"errorDetail":{"code":401,"message":"denied"},"error":"denied"}`, 401)
	f(`{"errorDetail":{"message":"denied"},"error":"denied"}`, 500)
	f(`{"errorDetail":{"message":"only here"}}`, 500)
	f(`{"status":`, -1)
}

func FuzzFollowPull(f *testing.F) {
	f.Add([]byte(`{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"a"}` + "\r\n"))
	f.Add([]byte(`{"status":"Already exists","id":"a"}{"status":"Extracting","id":"b","progressDetail":{"current":9,"total":2}}`))
	f.Add([]byte(`{"error":"e","errorDetail":{"code":7,"message":"m"}}`))
	f.Fuzz(func(t *testing.T, stream []byte) {
		last := -1
		err := followPull(strings.NewReader(string(stream)), request{}, func(n int) {
			if n <= last || n > 100 {
				t.Fatalf("%d after %d", n, last)
			}
			last = n
		})
		if err == nil && last != 100 {
			t.Fatalf("success at %d percent", last)
		}
	})
}

func TestEachObjectBoundsOneObjectNotTheStream(t *testing.T) {
	object := `{"Action":"` + strings.Repeat("a", maxObject/3) + `"}`
	n := 0
	err := eachObject(strings.NewReader(strings.Repeat(object, 9)), func(*struct{ Action string }) error {
		n++
		return nil
	})
	if err != nil || n != 9 {
		t.Fatalf("%d objects, %v", n, err)
	}
}

func TestEachObjectStopsAtTheCallersError(t *testing.T) {
	n := 0
	err := eachObject(strings.NewReader(`{}{}{}`), func(*struct{}) error {
		n++
		return io.ErrClosedPipe
	})
	if !errors.Is(err, io.ErrClosedPipe) || n != 1 {
		t.Fatalf("%d objects, %v", n, err)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
