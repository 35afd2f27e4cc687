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

// HostConfig are the settings of the host that its user may change: name and proxy
// (docs/spec/device-api.md 2.14). Its methods may be called from any goroutine.
type HostConfig struct {
	config  *Config
	root    string
	boot    string
	restart func() error
	log     zerolog.Logger
	mu      sync.Mutex // from reading the files to replacing them
}

// NewHostConfig are the settings of the host whose root and boot partition are mounted at root and
// boot. After a change of the proxy it calls restart, unless nil, for the services of the host that
// put it into effect.
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

// Hostname is the name that the host goes by now; a name that was set is not seen before the host
// has applied it. The error wraps the system error.
func (h *HostConfig) Hostname() (string, error) { return ReadHostname(h.root) }

// Proxy is the proxy that is set up and what is reached without it; nil when none is, and an empty
// one when its file does not say what a proxy needs. The error wraps the system error.
func (h *HostConfig) Proxy() (p *redsocks.Proxy, noProxy []string, err error) {
	conf, there, err := readIfThere(h.confFile())
	if err != nil || !there {
		return nil, nil, err
	}
	if p, _ = redsocks.Parse(conf); p == nil {
		p = &redsocks.Proxy{}
	}
	direct, _, err := readIfThere(h.noProxyFile())
	return p, redsocks.ParseNoProxy(direct), err
}

// CheckHost is a redsocks.Refused when SetHost would refuse the change as things are, and an error of
// the system when that cannot be told.
func (h *HostConfig) CheckHost(hostname *string, proxy redsocks.Change) error {
	_, _, err := h.plan(hostname, proxy)
	return err
}

// SetHost changes the name of the host, unless nil, and its proxy. An empty name is the first 7
// characters of the uuid. The error is a redsocks.Refused when a value cannot be had, else one of the
// system, after which a part may have changed.
func (h *HostConfig) SetHost(hostname *string, proxy redsocks.Change) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	result, changed, err := h.plan(hostname, proxy)
	if err != nil {
		return err
	}
	if hostname != nil {
		err = h.config.Update(map[string]any{"hostname": *hostname})
	}
	if err == nil && !proxy.Nothing() {
		err = h.write(result, changed, proxy)
		if err == nil && h.restart != nil {
			err = h.restart()
		}
	}
	if err != nil {
		h.log.Error().Err(err).Msg("configuration of the host could not be changed")
	}
	return err
}

// plan finds what redsocks.conf becomes; changed is false when it stays. One that redsocks refuses is mended.
func (h *HostConfig) plan(hostname *string, proxy redsocks.Change) (result *redsocks.Proxy, changed bool, err error) {
	if hostname != nil && *hostname != "" && !isHostname(*hostname) {
		return nil, false, redsocks.Refused("network.hostname is not a host name")
	}
	if proxy.Nothing() {
		return nil, false, nil
	}
	conf, _, err := readIfThere(h.confFile())
	if err != nil {
		return nil, false, err
	}
	present, sound := redsocks.Parse(conf)
	result, changed, err = proxy.Over(present)
	return result, changed || err == nil && result != nil && !sound, err
}

// write puts the exceptions in place before a proxy that has them, and takes them away after it. Both
// files are for other users to read: redsocks does not run as root.
func (h *HostConfig) write(p *redsocks.Proxy, changed bool, c redsocks.Change) error {
	direct := ""
	if c.NoProxy != nil && len(*c.NoProxy) > 0 {
		direct = redsocks.NoProxyFile(*c.NoProxy)
	}
	keep := c.NoProxy == nil && !c.Clear
	if direct != "" && !c.Clear {
		if err := h.put(h.noProxyFile(), direct); err != nil {
			return err
		}
		keep = true
	}
	if changed {
		var err error
		if p == nil {
			err = removeFile(h.confFile())
		} else {
			err = h.put(h.confFile(), p.File())
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

// put writes a file into the directory, which it makes unless the boot partition itself is missing.
func (h *HostConfig) put(path, text string) error {
	if _, err := os.Stat(h.boot); err != nil {
		return fmt.Errorf("boot partition: %w", err)
	}
	if err := file.MakeDir(h.dir(), 0o755); err != nil {
		return err
	}
	if err := freePath(path); err != nil {
		return err
	}
	_, err := file.WriteIfChanged(path, []byte(text), 0o644)
	return err
}

func removeFile(path string) error {
	if err := freePath(path); err != nil {
		return err
	}
	return file.Remove(path)
}

// freePath sets aside a directory in place of a file, which could be neither replaced nor removed.
func freePath(path string) error {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return nil // the file system says more to who uses the file
	}
	_, err = file.SetAside(path)
	return err
}

// readIfThere reads a file that need not be there. What cannot be one that redsocks reads, such as a
// FIFO, counts as empty: the next change replaces it, and sets a directory aside.
func readIfThere(path string) (text string, there bool, err error) {
	data, err := file.Read(path, file.Small)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if errors.Is(err, file.ErrUnfit) {
		return "", true, nil
	}
	return string(data), err == nil, err // the error names operation and path
}

// isHostname tells whether name is one that a host can have: labels of letters, digits and hyphens,
// at most 63 characters each and 64 in all, which is what the kernel keeps.
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
