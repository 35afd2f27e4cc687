package hostos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/file"
	"resin-supervisor/hostos/redsocks"
)

// HostConfig reads and changes the host name and the proxy of the host (docs/spec/device-api.md 2.14). It is safe for
// concurrent use.
type HostConfig struct {
	config  *Config
	root    string
	boot    string
	restart func() error
	log     zerolog.Logger
	mu      sync.Mutex // held from reading the files to replacing them
}

// NewHostConfig returns the settings of the host whose root and boot partition are mounted at root and boot. After a
// change of the proxy it calls restart, unless that is nil, to restart the host services that use the settings.
func NewHostConfig(config *Config, root, boot string, restart func() error, log zerolog.Logger) *HostConfig {
	h := &HostConfig{config: config, root: root, boot: boot, restart: restart, log: log}
	file.Sweep(h.dir())
	return h
}

func (h *HostConfig) dir() string      { return filepath.Join(h.boot, "system-proxy") }
func (h *HostConfig) confFile() string { return filepath.Join(h.dir(), "redsocks.conf") }
func (h *HostConfig) noProxyFile() string {
	return filepath.Join(h.dir(), "no_proxy")
}

// Hostname returns the current host name. It does not return a new name before the host has applied it. The error
// wraps the system error.
func (h *HostConfig) Hostname() (string, error) { return ReadHostname(h.root) }

// Proxy returns the configured proxy and the addresses that bypass it. The proxy is nil if none is configured, and
// empty if its file is incomplete. The error wraps the system error.
func (h *HostConfig) Proxy() (p *redsocks.Proxy, noProxy []string, err error) {
	conf, there, err := readOptional(h.confFile())
	if err != nil || !there {
		return nil, nil, err
	}
	if p, _ = redsocks.Parse(conf); p == nil {
		p = &redsocks.Proxy{}
	}
	direct, _, err := readOptional(h.noProxyFile())
	return p, redsocks.ParseNoProxy(direct), err
}

// CheckHost checks whether SetHost would accept the change. The error is a redsocks.Refused if not, or a system error
// if the files cannot be read.
func (h *HostConfig) CheckHost(hostname *string, proxy redsocks.Change) error {
	_, _, err := h.planChange(hostname, proxy)
	return err
}

// SetHost changes the host name, unless it is nil, and the proxy. An empty name stands for the first 7 characters of
// the uuid. The error is a redsocks.Refused if a value is invalid. After a system error a part of the change may be
// in effect.
func (h *HostConfig) SetHost(hostname *string, proxy redsocks.Change) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	result, changed, err := h.planChange(hostname, proxy)
	if err != nil {
		return err
	}
	if hostname != nil {
		err = h.config.Update(map[string]any{"hostname": *hostname})
	}
	if err == nil && !proxy.IsEmpty() {
		err = h.write(result, changed, proxy)
		if err == nil && h.restart != nil {
			err = h.restart()
		}
	}
	if err != nil {
		h.log.Error().Err(err).Msg("cannot change host name or proxy of the host")
	}
	return err
}

// planChange returns the new proxy settings. changed is false if redsocks.conf can stay. A file that redsocks would
// refuse is always rewritten.
func (h *HostConfig) planChange(hostname *string, proxy redsocks.Change) (result *redsocks.Proxy, changed bool, err error) {
	if hostname != nil && *hostname != "" && !isHostname(*hostname) {
		return nil, false, redsocks.Refused("network.hostname is not a host name")
	}
	if proxy.IsEmpty() {
		return nil, false, nil
	}
	conf, _, err := readOptional(h.confFile())
	if err != nil {
		return nil, false, err
	}
	present, sound := redsocks.Parse(conf)
	result, changed, err = proxy.Apply(present)
	return result, changed || err == nil && result != nil && !sound, err
}

// write writes the bypassed addresses before the proxy, and removes them after the proxy. Other users can read both
// files, because redsocks does not run as root.
func (h *HostConfig) write(p *redsocks.Proxy, changed bool, c redsocks.Change) error {
	direct := ""
	if c.NoProxy != nil && len(*c.NoProxy) > 0 {
		direct = redsocks.NoProxyFile(*c.NoProxy)
	}
	keep := c.NoProxy == nil && !c.Clear
	if direct != "" && !c.Clear {
		if err := h.writeFile(h.noProxyFile(), direct); err != nil {
			return err
		}
		keep = true
	}
	if changed {
		var err error
		if p == nil {
			err = removeFile(h.confFile())
		} else {
			err = h.writeFile(h.confFile(), p.File())
		}
		if err != nil {
			return err
		}
	}
	if keep {
		return nil
	}
	return removeFile(h.noProxyFile())
}

// writeFile writes a file and makes its directory, unless the boot partition is missing.
func (h *HostConfig) writeFile(path, text string) error {
	if _, err := os.Stat(h.boot); err != nil {
		return fmt.Errorf("boot partition: %w", err)
	}
	if err := file.MakeDir(h.dir(), 0o755); err != nil {
		return err
	}
	if err := moveDirectoryAway(path); err != nil {
		return err
	}
	_, err := file.WriteIfChanged(path, []byte(text), 0o644)
	return err
}

func removeFile(path string) error {
	if err := moveDirectoryAway(path); err != nil {
		return err
	}
	return file.Remove(path)
}

// moveDirectoryAway sets aside a directory that is in the place of a file. A directory can be neither replaced nor
// removed like a file.
func moveDirectoryAway(path string) error {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return nil // the next operation reports a better error
	}
	_, err = file.SetAside(path)
	return err
}

// readOptional reads a file that may be missing. A file that redsocks cannot read, such as a FIFO, counts as empty:
// the next change replaces it.
func readOptional(path string) (text string, there bool, err error) {
	data, err := file.Read(path, file.Small)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if errors.Is(err, file.ErrUnfit) {
		return "", true, nil
	}
	return string(data), err == nil, err // the error names operation and path
}

// isHostname reports whether name is a valid host name: labels of letters, digits and hyphens with at most 63
// characters each, and at most 64 characters in total, which is the kernel's limit.
func isHostname(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' {
				return false
			}
		}
	}
	return len(name) <= 64
}
