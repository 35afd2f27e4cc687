package hostos

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
	"resin-supervisor/hostos/inotify"
)

// ReadHostname returns the host name from etc/hostname below root. The error wraps the system error.
func ReadHostname(root string) (string, error) {
	data, err := file.Read(filepath.Join(root, "etc/hostname"), file.Small)
	return strings.TrimSpace(string(data)), err
}

// GoesBy reports whether name, in lower case, is a name of the host below root: the configured host name, that of
// etc/hostname or the kernel's, alone or with one of the host's search domains.
func GoesBy(root, configured, name string) bool {
	applied, _ := ReadHostname(root)
	kernel, _ := os.Hostname()
	// a container that shares the host's network gets the host's file
	domains := searchDomains("/etc/resolv.conf")
	return slices.ContainsFunc([]string{configured, applied, kernel}, func(own string) bool { return isNameOf(own, domains, name) })
}

func isNameOf(own string, domains []string, name string) bool {
	own = strings.ToLower(own)
	domain, isLonger := strings.CutPrefix(name, own+".")
	return own != "" && (name == own || isLonger && slices.Contains(domains, domain))
}

// searchDomains returns the domains of a resolv.conf, in lower case.
func searchDomains(path string) (domains []string) {
	text, _ := file.Read(path, file.Small)
	for line := range strings.Lines(strings.ToLower(string(text))) {
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "search" || f[0] == "domain") {
			domains = append(domains, f[1:]...)
		}
	}
	return domains
}

// WatchHostname calls changed whenever the host's /etc/hostname is written or replaced, until ctx ends. An error means
// that the file is not watched.
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
				if events[i].Name == "hostname" || events[i].Watch < 0 { // or events were lost
					changed()
				}
			}
		}
	}()
	return nil
}
