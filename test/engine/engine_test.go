// Package engine tests the engine client against a real container engine and a real registry
// (docs/spec/engine.md section 1 and conformance lines 1 to 8).
package engine

import (
	"archive/tar"
	"bytes"
	"net/http"
	"os"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
)

func TestMain(m *testing.M) { harness.Main(m) }

const shell = "shell:1" // image of a static shell, see bed

// bed is a client of the package's engine, which has the shell image.
func bed(t *testing.T) (*engine.Client, *harness.Engine) {
	t.Helper()
	e := harness.SharedEngine(t)
	if e.ImageID(t, shell) == "" {
		importShell(t, e)
	}
	return engine.New(e.Socket), e
}

func importShell(t *testing.T, e *harness.Engine) {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("read the static shell (package busybox-static): %v", err)
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	w.WriteHeader(&tar.Header{Name: "bin/sh", Mode: 0o755, Size: int64(len(program))})
	w.Write(program)
	w.Close()
	e.Must(t, http.MethodPost, "/images/create?fromSrc=-&repo=shell&tag=1", &image, nil)
}

// script is a container that runs lines of shell.
func script(lines string) *doc.Create {
	return &doc.Create{Image: shell, Cmd: []string{"/bin/sh", "-c", lines}}
}

// forever is a script that runs until it is told to stop.
const forever = `trap 'exit 0' TERM; /bin/sh -c 'exec sleep 9999' & wait`

func create(t *testing.T, c *engine.Client, name string, body *doc.Create) string {
	t.Helper()
	made, err := c.CreateContainer(t.Context(), name, body)
	if err != nil {
		t.Fatal(err)
	}
	return made.Id
}

func run(t *testing.T, c *engine.Client, name string, body *doc.Create) string {
	t.Helper()
	id := create(t, c, name, body)
	if err := c.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// second drops what a call returns besides its error.
func second[T any](_ T, err error) error { return err }

// wantStatus checks how a call was refused.
func wantStatus(t *testing.T, what string, err error, want int) {
	t.Helper()
	e, ok := err.(*engine.Error)
	if !ok || e.Status != want {
		t.Errorf("%s: got %v, want status %d", what, err, want)
	}
}
