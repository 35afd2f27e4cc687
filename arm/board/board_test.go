package board

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if got := Read(dir); got != (Type{"unknown", "unknown"}) {
		t.Fatalf("missing file: got %v", got)
	}
	for _, test := range []struct {
		text string
		want Type
	}{
		{`{"slug":"raspberrypi3","arch":"armv7hf","name":"Raspberry Pi 3","data":{"arch":"x"}}`, Type{"raspberrypi3", "armv7hf"}},
		{`{"slug":"raspberry-pi"}`, Type{"raspberry-pi", "unknown"}},
		{`{"slug":7,"arch":"rpi"}`, Type{"unknown", "rpi"}},
		{`{"slug":null,"arch":""}`, Type{"unknown", "unknown"}},
		{`{"slug":"cut`, Type{"unknown", "unknown"}},
		{`[]`, Type{"unknown", "unknown"}},
		{``, Type{"unknown", "unknown"}},
		{`{"slug":"beaglebone-black","arch":"armv7hf"}`, Type{"beaglebone-black", "armv7hf"}}, // repaired
	} {
		if err := os.WriteFile(filepath.Join(dir, "device-type.json"), []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Read(dir); got != test.want {
			t.Errorf("%s: got %v, want %v", test.text, got, test.want)
		}
	}
}
