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
)

// Watch reads the file again whenever it was replaced or written, until ctx ends, and calls foreign
// when somebody else than this process changed the settings; it must neither wait nor change the
// file. A file that cannot be read, since its writer is not done, is passed over. The error says that
// the file is not watched.
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
	c.foreign = foreign
	c.editing.Unlock()
	_ = c.Reload() // what happened before the watch
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
					log.Warn().Err(err).Msg("config.json was changed and cannot be read")
				}
				break
			}
		}
	}()
	return nil
}

const configEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVE_SELF

// rearm watches what is at the place of the directory after that was unmounted, removed or renamed, once
// the file is there again.
func (c *Config) rearm(ctx context.Context, watcher *inotify.Watcher, dir string) {
	for delay := time.Second; ctx.Err() == nil; delay = min(2*delay, time.Minute) {
		if _, err := os.Stat(c.path); err == nil {
			if _, err := watcher.Add(dir, configEvents); err == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

// SameDevice tells whether a process that started with other settings can go on with these: the device
// answers on the same port, belongs to the same cloud and is the same there. A key for provisioning
// counts once the device is provisioned: it asks for another exchange of keys.
func (s Settings) SameDevice(other Settings) bool {
	provisioned := s.RegisteredAt != 0 && s.DeviceID != 0
	return s.APIEndpoint == other.APIEndpoint && s.DeltaEndpoint == other.DeltaEndpoint && s.ListenPort == other.ListenPort &&
		s.UUID == other.UUID && s.DeviceAPIKey == other.DeviceAPIKey && (!provisioned || s.APIKey == other.APIKey)
}
