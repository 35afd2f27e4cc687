package hostos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/inotify"
	"resin-supervisor/hostos/retry"
)

// Watch reads the file again whenever it is replaced or written, until ctx ends. It calls foreign when another process
// changed the settings; foreign must neither block nor change the file. Watch logs and ignores a file that it cannot
// read, for example because its writer is not done. The error means that the file is not watched.
func (c *Config) Watch(ctx context.Context, foreign func(before, now Settings), log zerolog.Logger) error {
	watcher, err := inotify.New()
	if err != nil {
		return err
	}
	dir, name := filepath.Split(c.path)
	if _, err := watcher.Add(dir, configEvents); err != nil {
		_ = watcher.Close()
		return fmt.Errorf("watch %s: %w", c.path, err)
	}
	c.editing.Lock()
	c.onForeignChange = foreign
	c.editing.Unlock()
	_ = c.Reload() // for changes before the watch
	go func() {
		defer watcher.Close()
		for {
			events, err := watcher.Read(ctx)
			if err != nil {
				return
			}
			for _, e := range events {
				if e.Mask&(unix.IN_IGNORED|unix.IN_MOVE_SELF) != 0 {
					c.rearm(ctx, watcher, dir)
				} else if e.Name != name && e.Watch >= 0 {
					continue
				}
				if err := c.Reload(); err != nil {
					log.Warn().Err(err).Msg("cannot read the changed config.json, keeping the last settings")
				}
				break
			}
		}
	}()
	return nil
}

const configEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVE_SELF

// rearm watches the directory again after it was unmounted, removed or renamed. It waits until the file exists.
func (c *Config) rearm(ctx context.Context, watcher *inotify.Watcher, dir string) {
	for delay := time.Second; ctx.Err() == nil; delay = min(2*delay, time.Minute) {
		if _, err := os.Stat(c.path); err == nil {
			if _, err := watcher.Add(dir, configEvents); err == nil {
				return
			}
		}
		retry.Sleep(ctx, delay)
	}
}

// SameDevice reports whether a process that started with other settings can continue with these: port, cloud and
// identity are the same. A new provisioning key counts as a difference once the device is provisioned, because it
// requests another key exchange.
func (s Settings) SameDevice(other Settings) bool {
	provisioned := s.RegisteredAt != 0 && s.DeviceID != 0
	return s.APIEndpoint == other.APIEndpoint && s.DeltaEndpoint == other.DeltaEndpoint && s.ListenPort == other.ListenPort &&
		s.UUID == other.UUID && s.DeviceAPIKey == other.DeviceAPIKey && (!provisioned || s.APIKey == other.APIKey)
}
