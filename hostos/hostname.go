package hostos

import (
	"context"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
	"resin-supervisor/hostos/inotify"
)

// ReadHostname returns the host name that the system below root applied at its last start. The
// error wraps the system error.
func ReadHostname(root string) (string, error) {
	data, err := file.Read(filepath.Join(root, "etc/hostname"), file.Small)
	return strings.TrimSpace(string(data)), err
}

// WatchHostname calls changed whenever the host's /etc/hostname was written or replaced, until ctx ends. An
// error says that it is not watched.
func WatchHostname(ctx context.Context, root string, changed func()) error {
	w, err := inotify.New()
	if err != nil {
		return err
	}
	if _, err := w.Add(filepath.Join(root, "etc"), unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO); err != nil {
		_ = w.Close()
		return err
	}
	go func() {
		defer w.Close()
		for {
			events, err := w.Read(ctx)
			if err != nil {
				return
			}
			for i := range events {
				if events[i].Name == "hostname" || events[i].Watch < 0 { // after lost events, perhaps
					changed()
				}
			}
		}
	}()
	return nil
}
