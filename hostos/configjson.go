package hostos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/settings"
)

// document is config.json with every value as it was written, so that foreign keys survive.
type document map[string]json.RawMessage

// Config is the device's config.json, which the image builder, the host and the supervisor share
// (docs/spec/cloud.md 1). All methods may be called from any goroutine.
type Config struct {
	path     string
	editing  sync.Mutex // from reading the file to replacing it; readers of settings never wait
	settings atomic.Pointer[Settings]
	follow   []func()                   // guarded by editing
	foreign  func(before, now Settings) // the same: told of what others changed
	present  bool                       // the same: the file was there
	// Of the daemon, and guarded by editing: where the copy of the file is kept, what it is, and what
	// counts instead of a file that is broken and cannot be written.
	docs          Documents
	kept, instead string
	hostGives     bool // the host makes a uuid and a key for a file that has none
	log           zerolog.Logger
}

// OpenConfig reads the file. One that cannot be read, parsed or understood is an error that names
// the file and the key, and the file stays as it is. A missing one counts as an empty object and is
// made by the first write: a development machine can start without.
func OpenConfig(path string) (*Config, error) {
	c := &Config{path: path}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Get returns the settings as of the last successful reading or write.
func (c *Config) Get() Settings {
	return *c.settings.Load()
}

// Reload reads the file again, for what others wrote (docs/spec/cloud.md 2.7). After an error Get keeps
// the settings it had.
func (c *Config) Reload() error {
	c.editing.Lock()
	defer c.editing.Unlock()
	_, settings, err := c.read()
	if err == nil {
		c.found(settings)
	}
	return err
}

// Follow has f called whenever the settings changed. It must neither wait nor change the file.
func (c *Config) Follow(f func()) {
	c.editing.Lock()
	defer c.editing.Unlock()
	c.follow = append(c.follow, f)
}

// found takes over what is in the file without our doing. The caller holds editing.
func (c *Config) found(s Settings) {
	if before := c.settings.Load(); before != nil && *before != s && c.foreign != nil {
		c.foreign(*before, s)
	}
	c.adopt(s)
}

// adopt makes settings the ones that Get returns. The caller holds editing.
func (c *Config) adopt(s Settings) {
	if old := c.settings.Swap(&s); old == nil || *old == s {
		return
	}
	for _, f := range c.follow {
		f()
	}
}

// Update sets the given keys of the file as it is now and leaves all others as they are; nil removes
// a key. Numbers are whole, spans are milliseconds. The file is replaced atomically, and only when a
// value differs (docs/spec/cloud.md 1.4). An empty or nil hostname stores the first 7 characters of the
// uuid. After an error nothing has changed.
func (c *Config) Update(change map[string]any) error {
	return c.edit(func(s Settings) map[string]any {
		hostname, given := change["hostname"]
		if !given || (hostname != nil && hostname != "") {
			return change
		}
		named := map[string]any{}
		for key, value := range change {
			named[key] = value
		}
		named["hostname"] = s.UUID[:min(7, len(s.UUID))]
		return named
	})
}

// EnsureIdentity generates what is missing of uuid (always) and deviceApiKey (when managed), in one
// write that is durable before it returns (docs/spec/cloud.md 2.2).
func (c *Config) EnsureIdentity() error {
	return c.edit(func(s Settings) map[string]any {
		change := map[string]any{}
		if s.UUID == "" {
			change["uuid"] = newIdentity()
		}
		if s.Managed() && s.DeviceAPIKey == "" {
			change["deviceApiKey"] = newIdentity()
		}
		return change
	})
}

// StoreSettings makes the file say of the poll interval and of persistent logging what the
// configuration does; a key that is absent and would get its default stays absent.
func (c *Config) StoreSettings(want settings.Settings) error {
	return c.edit(func(s Settings) map[string]any {
		change := map[string]any{}
		if want.PollInterval != s.PollInterval {
			change["appUpdatePollInterval"] = want.PollInterval.Milliseconds()
		}
		if want.PersistentLogging != s.PersistentLogging {
			change["persistentLogging"] = want.PersistentLogging
		}
		return change
	})
}

// edit replaces the keys that decide returns for the settings now in the file.
func (c *Config) edit(decide func(Settings) map[string]any) error {
	c.editing.Lock()
	defer c.editing.Unlock()
	doc, settings, err := c.read()
	if err != nil {
		return err
	}
	c.found(settings)
	changed, err := doc.merge(decide(settings))
	if err != nil {
		return fmt.Errorf("change %s: %w", c.path, err)
	}
	if changed {
		if settings, err = c.write(doc); err != nil {
			return err
		}
	}
	c.adopt(settings)
	return nil
}

func (c *Config) read() (document, Settings, error) {
	doc, data, err := c.load()
	switch {
	case err == nil:
		c.instead = ""
	case errors.Is(err, fs.ErrNotExist) && !c.present: // one that went must not be made anew without its keys
		doc, data, err = document{}, []byte("{}"), nil
	case c.instead != "":
		data = []byte(c.instead)
		doc, err = parseDocument(data)
	}
	if err != nil {
		return nil, Settings{}, err
	}
	settings, err := doc.settings()
	if err != nil {
		return nil, Settings{}, fmt.Errorf("read %s: %w", c.path, err)
	}
	_, err = os.Stat(c.path)
	c.present = c.present || err == nil
	c.keep(data, doc, settings)
	return doc, settings, nil
}

// load reads what is in the file, as it is and as an object. The error names the path.
func (c *Config) load() (document, []byte, error) {
	data, err := file.Read(c.path, file.Small)
	if err != nil {
		return nil, nil, err
	}
	doc, err := parseDocument(data)
	if err != nil {
		return nil, nil, fmt.Errorf("parse %s: %w", c.path, err)
	}
	return doc, data, nil
}

// write replaces the file, unless it could not be read back.
func (c *Config) write(doc document) (Settings, error) {
	settings, err := doc.settings()
	if err != nil {
		return settings, fmt.Errorf("write %s: %w", c.path, err)
	}
	data, err := doc.encode()
	if err != nil {
		return settings, fmt.Errorf("write %s: %w", c.path, err)
	}
	mode := uint32(0o600) // it holds keys
	if info, err := os.Stat(c.path); err == nil {
		mode = uint32(info.Mode().Perm())
	}
	if err = file.Write(c.path, data, mode); err == nil {
		c.keep(data, doc, settings)
	}
	return settings, err
}

func parseDocument(data []byte) (document, error) {
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, errors.New("null instead of an object")
	}
	return doc, nil
}

// encode gives compact JSON on one line, foreign values as they were.
func (d document) encode() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(d)
	return bytes.TrimRight(out.Bytes(), "\n"), err
}

// merge sets or removes the keys of change and reports whether any value differed.
func (d document) merge(change map[string]any) (changed bool, err error) {
	for key, value := range change {
		old, present := d[key]
		if value == nil {
			delete(d, key)
			changed = changed || present
			continue
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return false, fmt.Errorf("%s: %w", key, err)
		}
		if present && sameValue(old, raw) {
			continue
		}
		d[key] = raw
		changed = true
	}
	return changed, nil
}

// sameValue compares two JSON values: a number or boolean that the image builder wrote as a string
// equals the native one.
func sameValue(old, value json.RawMessage) bool {
	var compact bytes.Buffer
	if json.Compact(&compact, old) == nil && bytes.Equal(compact.Bytes(), value) {
		return true
	}
	switch value[0] {
	case '"', '{', '[':
		return sameText(old, value)
	case 't', 'f':
		a, errA := boolean(old)
		b, errB := boolean(value)
		return errA == nil && errB == nil && a == b
	default:
		a, errA := integer(old)
		b, errB := integer(value)
		return errA == nil && errB == nil && a == b
	}
}

// sameText compares two JSON strings whose characters may be escaped differently.
func sameText(a, b json.RawMessage) bool {
	var textA, textB string
	return json.Unmarshal(a, &textA) == nil && json.Unmarshal(b, &textB) == nil && textA == textB
}
