package cloud

import (
	"errors"
	"testing"
)

// An answer of the delta server gives a name or an error, never neither.
func FuzzDeltaImage(f *testing.F) {
	f.Add(200, []byte(`{"name":"registry.example.com/delta@sha256:77aa"}`))
	f.Add(200, []byte(`{"name":7}`))
	f.Add(200, []byte(`{}`))
	f.Add(404, []byte(`not found`))
	f.Add(504, []byte(``))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		image, err := deltaImage(status, body)
		if (image == "") != (err != nil) {
			t.Fatalf("%d %q: image %q, error %v", status, body, image, err)
		}
		if status == 401 && errors.Is(err, ErrNoDelta) {
			t.Fatalf("a refused token counts as no delta")
		}
	})
}

// A registry token is a non-empty text of an answer 200.
func FuzzRegistryToken(f *testing.F) {
	f.Add(200, []byte(`{"token":"abc"}`))
	f.Add(200, []byte(`{"token":""}`))
	f.Add(200, []byte(`{"token":["abc"]}`))
	f.Add(401, []byte(`{"token":"abc"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		text, err := registryToken(status, body)
		if (text == "") != (err != nil) || err == nil && status != 200 {
			t.Fatalf("%d %q: token %q, error %v", status, body, text, err)
		}
	})
}
