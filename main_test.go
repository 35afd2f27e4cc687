package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos"
	"resin-supervisor/update/store"
)

// docs/spec/host.md 3.2: a command asks the daemon where that answers, which is as the copy says while the file is of
// no use.
func TestPortOfTheDaemon(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.json")
	env := map[string]string{"CONFIG_MOUNT_POINT": config, "SUPERVISOR_STATE_DIR": filepath.Join(dir, "own"), "LISTEN_PORT": "81"}
	f := func(file string, want int) {
		t.Helper()
		os.Remove(config)
		if file != "" {
			if err := os.WriteFile(config, []byte(file), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := environmentPort(env); got != want {
			t.Errorf("port %d with %q, want %d", got, file, want)
		}
	}
	f("", 81)
	f(`{"listenPort":82}`, 82)
	docs, err := store.Open(filepath.Join(dir, "own"), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := docs.Save("identity", 1, map[string]string{"text": `{"uuid":"u1","listenPort":83}`}); err != nil {
		t.Fatal(err)
	}
	for _, useless := range []string{"", "{}", "\x00\x00\x00", `{"uuid":"u1","listenPort":"none"}`} {
		f(useless, 83)
	}
	f(`{"uuid":"u1","listenPort":82}`, 82)
	f(`{"uuid":"u1"}`, 81)
}

func environmentPort(env map[string]string) int {
	e := hostos.ReadEnvironment(func(name string) string { return env[name] })
	return port(&e)
}
