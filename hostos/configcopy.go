package hostos

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/file"
)

// Documents keeps documents durably, each under a name.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// copyName is the document with the last sound config.json that had an identity.
const copyName = "identity"

// configCopy holds the file word for word.
type configCopy struct {
	Text string `json:"text"`
}

// KeepConfig is OpenConfig for the daemon, at its start. It keeps a copy of the file in docs, and gives the
// device its identity back from there when the file is gone, cannot be read, or lacks it (docs/spec/host.md
// 3.2). The notice tells people what was wrong and what was done, empty when nothing was. Where the host
// gives every device a file, one that is not there and has no copy is an error.
func KeepConfig(path string, docs Documents, hostGives bool, log zerolog.Logger) (c *Config, notice string, err error) {
	file.Sweep(filepath.Dir(path))
	c = &Config{path: path, docs: docs, log: log}
	var saved configCopy
	if _, err := docs.Load(copyName, 1, &saved); err != nil {
		return nil, "", err
	}
	c.kept = saved.Text
	kept, _ := parseDocument([]byte(saved.Text)) // nil when there is no copy
	doc, _, err := c.load()
	switch gone := errors.Is(err, fs.ErrNotExist); {
	case kept == nil && gone && hostGives:
		return nil, "", fmt.Errorf("find %s: the host gives every device this file, and there is no copy of it: no new identity is made; "+
			"put the device's config.json back, or set the device up anew", path)
	case kept != nil && (err != nil || len(doc) == 0):
		notice = c.restore(err)
	case kept != nil:
		notice, err = c.complete(doc, kept)
		if err != nil {
			return nil, "", err
		}
	}
	return c, notice, c.Reload()
}

// restore writes the file as the copy has it. A broken one is kept beside. Where the file cannot be
// written, the device goes on with the copy.
func (c *Config) restore(cause error) string {
	notice := "config.json was gone"
	if cause != nil && !errors.Is(cause, fs.ErrNotExist) {
		notice = "config.json could not be read (" + cause.Error() + ")"
		if aside, err := file.SetAside(c.path); err == nil {
			notice += " and is kept as " + aside
		}
	}
	c.present = true
	if err := file.Write(c.path, []byte(c.kept), 0o600); err != nil {
		c.instead = c.kept
		return notice + "; it cannot be written (" + err.Error() + "), so the device goes on with its copy, and no setting can be changed"
	}
	return notice + "; it was written again from its copy, with the same identity and keys"
}

// complete gives the file what it lost of the identity.
func (c *Config) complete(doc, kept document) (notice string, err error) {
	lost := doc.lost(kept)
	if len(lost) == 0 {
		return "", nil
	}
	for _, key := range lost {
		doc[key] = kept[key]
	}
	if _, err := c.write(doc); err != nil {
		return "", err
	}
	return "config.json had lost " + strings.Join(lost, ", ") + ", which came back from its copy", nil
}

// lost lists what a file lacks of the identity that its copy has. A file with a provisioning key, of another
// cloud or with another uuid makes another device of this one, and lacks nothing.
func (d document) lost(kept document) (keys []string) {
	now, err := d.settings()
	before, errKept := kept.settings()
	if err != nil || errKept != nil || now.APIKey != "" || now.APIEndpoint != before.APIEndpoint || now.UUID != "" && now.UUID != before.UUID {
		return nil
	}
	for _, key := range [...]string{"uuid", "deviceApiKey", "deviceId", "registered_at"} {
		if d.has(key) < kept.has(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// has is 1 for a key with a value, else 0.
func (d document) has(key string) int {
	switch string(d[key]) {
	case "", "null", `""`:
		return 0
	}
	return 1
}

// keep makes a sound file the copy, unless it has no identity or lost a part of it. The caller holds editing.
func (c *Config) keep(data []byte, doc document, s Settings) {
	text := string(data)
	if c.docs == nil || s.UUID == "" || text == c.kept {
		return
	}
	if kept, _ := parseDocument([]byte(c.kept)); len(doc.lost(kept)) > 0 {
		return
	}
	if err := c.docs.Save(copyName, 1, configCopy{text}); err != nil {
		c.log.Warn().Err(err).Msg("config.json has no up-to-date copy")
		return
	}
	c.kept = text
}
