package hostos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// Changes by other processes are reported once, our own never. A file that is being written is read when it is complete.
func TestWatchTellsOfOthers(t *testing.T) {
	path := configFile(t, `{"uuid":"u","apiEndpoint":"https://a.example.com"}`)
	c := openConfig(t, path)
	reported := make(chan [2]Settings, 16)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := c.Watch(ctx, func(before, now Settings) { reported <- [2]Settings{before, now} }, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	next := func(what string) [2]Settings {
		t.Helper()
		select {
		case s := <-reported:
			return s
		case <-time.After(20 * time.Second):
			t.Fatal("no report of " + what)
			return [2]Settings{}
		}
	}
	update(t, c, map[string]any{"deviceId": 7, "registered_at": 9})
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"uuid":"u","apiEndpoint":"https`)
	write(`{"uuid":"u","deviceId":7,"registered_at":9,"apiEndpoint":"https://b.example.com"}`)
	if s := next("another cloud"); s[0].DeviceID != 7 || s[1].APIEndpoint != "https://b.example.com" || s[0].SameDevice(s[1]) {
		t.Errorf("reported %+v", s)
	}
	spare := filepath.Join(filepath.Dir(path), "spare")
	if err := os.WriteFile(spare, []byte(`{"uuid":"u","deviceId":7,"registered_at":9,"apiEndpoint":"https://b.example.com","hostname":"x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(spare, path); err != nil {
		t.Fatal(err)
	}
	if s := next("a replaced file"); s[1].Hostname != "x" || !s[0].SameDevice(s[1]) {
		t.Errorf("reported %+v", s)
	}
	// An edit by another process that we only see at our own write is reported too, and is preserved.
	write(`{"uuid":"u","deviceId":7,"registered_at":9,"apiEndpoint":"https://c.example.com","country":"NZ"}`)
	update(t, c, map[string]any{"hostname": "y"})
	if s := next("an edit before a write"); s[1].APIEndpoint != "https://c.example.com" {
		t.Errorf("reported %+v", s)
	}
	if got := parsed(t, content(t, path)); got["country"] != "NZ" || got["hostname"] != "y" || got["deviceId"] != json.Number("7") {
		t.Errorf("file: %v", got)
	}
	select {
	case s := <-reported:
		t.Errorf("reported our own change: %+v", s)
	default:
	}
}

// A file that vanished is not recreated, because it would lack its keys.
func TestFileThatWentIsNotMade(t *testing.T) {
	path := configFile(t, `{"uuid":"u","apiEndpoint":"https://a.example.com"}`)
	c := openConfig(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(map[string]any{"hostname": "y"}); err == nil {
		t.Error("the file was recreated")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	if c.Get().UUID != "u" {
		t.Error("the settings were lost")
	}
}

func TestSameDevice(t *testing.T) {
	base := Settings{APIEndpoint: "https://a", UUID: "u", DeviceAPIKey: "k", RegisteredAt: 1, DeviceID: 2}
	f := func(want bool, from Settings, change func(*Settings)) {
		t.Helper()
		to := from
		if change(&to); from.SameDevice(to) != want {
			t.Errorf("%+v to %+v: %v", from, to, !want)
		}
	}
	f(true, base, func(s *Settings) { s.Hostname, s.PollInterval, s.LogsEndpoint = "x", 5, "https://l" })
	f(false, base, func(s *Settings) { s.APIEndpoint = "" })
	f(false, base, func(s *Settings) { s.UUID = "v" })
	f(false, base, func(s *Settings) { s.DeviceAPIKey = "" })
	f(false, base, func(s *Settings) { s.ListenPort = 80 })
	f(false, base, func(s *Settings) { s.APIKey = "p" })
	f(true, Settings{APIEndpoint: "https://a", APIKey: "p"}, func(s *Settings) { s.APIKey = "q" })
}

// The watch continues after the directory was replaced, or removed and made again.
func TestWatchOutlivesItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "boot")
	path := filepath.Join(dir, "config.json")
	write := func(hostname string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(path, []byte(`{"uuid":"u","hostname":"`+hostname+`"}`), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	c := openConfig(t, path)
	reported := make(chan string, 16)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := c.Watch(ctx, func(_, now Settings) { reported <- now.Hostname }, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	for i, replace := range []func() error{
		func() error { return os.Rename(dir, dir+".old") },
		func() error { return os.RemoveAll(dir) },
		func() error { return os.Rename(dir, dir+".older") },
	} {
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		for _, hostname := range []string{fmt.Sprint("new", i), fmt.Sprint("edited", i)} {
			write(hostname)
			for heard := ""; heard != hostname; {
				select {
				case heard = <-reported:
				case <-time.After(20 * time.Second):
					t.Fatal("no report of " + hostname)
				}
			}
		}
	}
}
