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

// document is config.json with the exact text of every value, so that unknown keys are preserved.
type document map[string]json.RawMessage

// Config is the device's config.json, which the image builder, the host and the supervisor share
// (docs/spec/cloud.md 1). It is safe for concurrent use.
type Config struct {
	path            string
	editing         sync.Mutex // held from reading the file to replacing it; readers of settings do not take it
	settings        atomic.Pointer[Settings]
	onChange        []func()                   // guarded by editing
	onForeignChange func(before, now Settings) // guarded by editing: called after changes by other processes
	present         bool                       // guarded by editing: the file existed
	// The daemon has these fields, which are guarded by editing: the store of the copy, the text of the copy, and
	// the text that replaces a broken file that cannot be written.
	docs               Documents
	copyText, fallback string
	hostGives          bool // the host generates a uuid and a key for a file that has none
	log                zerolog.Logger
}

// OpenConfig reads the file. If the file is unreadable or invalid, the error names the file and the key. A missing file
// counts as an empty object, so that a development machine can start without one; the first write makes it.
func OpenConfig(path string) (*Config, error) {
	c := &Config{path: path}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Get returns the settings of the last successful read or write.
func (c *Config) Get() Settings {
	return *c.settings.Load()
}

// Reload reads the file again, to get changes by other processes (docs/spec/cloud.md 2.7). After an error Get returns
// the settings from before.
func (c *Config) Reload() error {
	c.editing.Lock()
	defer c.editing.Unlock()
	_, settings, err := c.read()
	if err == nil {
		c.adoptForeign(settings)
	}
	return err
}

// Follow registers f to be called whenever the settings change. f must neither block nor change the file.
func (c *Config) Follow(f func()) {
	c.editing.Lock()
	defer c.editing.Unlock()
	c.onChange = append(c.onChange, f)
}

// adoptForeign adopts settings that another process may have changed. The caller holds editing.
func (c *Config) adoptForeign(s Settings) {
	if before := c.settings.Load(); before != nil && *before != s && c.onForeignChange != nil {
		c.onForeignChange(*before, s)
	}
	c.adopt(s)
}

// adopt makes settings the ones that Get returns. The caller holds editing.
func (c *Config) adopt(s Settings) {
	if old := c.settings.Swap(&s); old == nil || *old == s {
		return
	}
	for _, f := range c.onChange {
		f()
	}
}

// Update sets the given keys in the current file and preserves all other keys; a nil value removes a key. Numbers are
// integers, durations are milliseconds. The file is replaced atomically, and only if a value differs
// (docs/spec/cloud.md 1.4). For an empty or nil hostname Update stores the first 7 characters of the uuid. After an
// error the file is unchanged.
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

// EnsureIdentity generates a missing uuid and, for a device with a cloud, a missing deviceApiKey. It stores both durably
// in one write (docs/spec/cloud.md 2.2).
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

// StoreSettings copies poll interval and persistent logging from the configuration to the file. It does not add a
// missing key for a default value.
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

// edit reads the file, and sets the keys that decide returns for its settings.
func (c *Config) edit(decide func(Settings) map[string]any) error {
	c.editing.Lock()
	defer c.editing.Unlock()
	doc, settings, err := c.read()
	if err != nil {
		return err
	}
	c.adoptForeign(settings)
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
		c.fallback = ""
	case errors.Is(err, fs.ErrNotExist) && !c.present: // a file that vanished must not be recreated without its keys
		doc, data, err = document{}, []byte("{}"), nil
	case c.fallback != "":
		data = []byte(c.fallback)
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
	c.saveCopy(data, doc, settings)
	return doc, settings, nil
}

// load reads the file and parses it. The error names the path.
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

// write replaces the file, unless doc has an invalid value.
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
		c.saveCopy(data, doc, settings)
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

// encode returns compact JSON on one line.
func (d document) encode() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(d)
	return bytes.TrimRight(out.Bytes(), "\n"), err
}

// merge sets or removes the keys of change, and reports whether any value changed.
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

// sameValue compares two JSON values. A number or boolean equals its string form, which the image builder may write.
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

// sameText compares two JSON strings, whatever their escapes.
func sameText(a, b json.RawMessage) bool {
	var textA, textB string
	return json.Unmarshal(a, &textA) == nil && json.Unmarshal(b, &textB) == nil && textA == textB
}
