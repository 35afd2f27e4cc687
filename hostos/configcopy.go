package hostos

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/file"
)

// Documents keeps documents durably, each under a name.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// Documents with the last sound config.json that had an identity, and with those before it that had another one.
const (
	copyName    = "identity"
	formerName  = "identity-before"
	keptFormers = 4 // the oldest goes first
)

// configCopy holds the file word for word.
type configCopy struct {
	Text string `json:"text"`
}

// formerCopies holds files word for word, the newest first.
type formerCopies struct {
	Texts []string `json:"texts"`
}

// KeepConfig is OpenConfig for the daemon, at its start. It keeps a copy of the file in docs, and gives the
// device its identity back from there when the file is gone, cannot be read, or lacks it (docs/spec/host.md
// 3.2). The notice tells people what was wrong and what was done, empty when nothing was. Where the host
// gives every device a file, one that is not there and has no copy is an error, and what the host put in
// place of a lost uuid or deviceApiKey counts as lost.
func KeepConfig(path string, docs Documents, hostGives bool, log zerolog.Logger) (c *Config, notice string, err error) {
	file.Sweep(filepath.Dir(path))
	c = &Config{path: path, docs: docs, hostGives: hostGives, log: log}
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
	case kept != nil && (err != nil || doc.blank(kept, hostGives)):
		notice = c.restore(err)
	case kept != nil:
		notice, err = c.complete(doc, kept)
		if err != nil {
			return nil, "", err
		}
	}
	return c, notice, c.Reload()
}

// blank tells whether nothing was left of the file: the host gives one without settings a new uuid.
func (d document) blank(kept document, hostGives bool) bool {
	return len(d) == 0 || hostGives && len(d) == 1 && d.has("uuid") > 0 && len(kept) > 1 && !sameText(d["uuid"], kept["uuid"])
}

// restore writes the file as the copy has it. A broken one is kept beside. Where the file cannot be
// written, the device goes on with the copy.
func (c *Config) restore(cause error) string {
	notice := "config.json was gone"
	if cause == nil {
		notice = "config.json held no settings"
	} else if !errors.Is(cause, fs.ErrNotExist) {
		notice = "config.json could not be read (" + cause.Error() + ")"
		if aside, err := file.SetAside(c.path); err == nil {
			notice += " and is kept as " + aside
		}
	}
	c.present = true
	if err := file.Write(c.path, []byte(c.kept), 0o600); err != nil {
		c.instead = c.kept
		return notice + "; it cannot be written (" + err.Error() + "), so the device goes on with its copy; the next change of a setting tries again"
	}
	return notice + "; it was written again from its copy, with the same identity and keys"
}

// complete gives the file what it lost of the identity.
func (c *Config) complete(doc, kept document) (notice string, err error) {
	lost := doc.lost(kept, c.hostGives)
	if len(lost) == 0 {
		return doc.replaced(kept), nil
	}
	for _, key := range lost {
		doc[key] = kept[key]
	}
	if _, err := c.write(doc); err != nil {
		return "", err
	}
	return "config.json had lost " + strings.Join(lost, ", ") + ", which came back from its copy", nil
}

// identityKeys are the keys of config.json that make a device the one that it is in its cloud.
var identityKeys = [...]string{"uuid", "deviceApiKey", "deviceId", "registered_at"}

// lost lists what a file lacks of the identity that its copy has. A file with a provisioning key, of another
// cloud or of another registration makes another device of this one, and lacks nothing. Where the host makes
// a uuid and a key for a file that has none, all is lost of one that could never register, or that has the
// deviceId of the copy and another uuid.
func (d document) lost(kept document, hostGives bool) (keys []string) {
	now, err := d.settings()
	before, errKept := kept.settings()
	if err != nil || errKept != nil || now.APIKey != "" || now.APIEndpoint != before.APIEndpoint ||
		differ(now.DeviceID, before.DeviceID) || differ(now.RegisteredAt, before.RegisteredAt) {
		return nil
	}
	all := false
	if now.otherIdentity(before) {
		unknown := now.DeviceID == 0 && now.RegisteredAt == 0 && before.RegisteredAt != 0
		all = hostGives && now.Managed() && (unknown || now.UUID != before.UUID && now.DeviceID != 0 && before.DeviceID != 0)
		if !all {
			return nil
		}
	}
	for _, key := range identityKeys {
		if kept.has(key) > 0 && (d.has(key) == 0 || all && !sameValue(d[key], kept[key])) {
			keys = append(keys, key)
		}
	}
	return keys
}

// differ tells whether two numbers are both set and not the same.
func differ(a, b int64) bool { return a != 0 && b != 0 && a != b }

// otherIdentity tells whether the file has a uuid or a key, and not the one that there was before.
func (s Settings) otherIdentity(before Settings) bool {
	return s.UUID != "" && s.UUID != before.UUID ||
		s.DeviceAPIKey != "" && before.DeviceAPIKey != "" && s.DeviceAPIKey != before.DeviceAPIKey
}

// replaced is the notice of a file that has another identity, though nobody asked for a registration or chose
// another cloud.
func (d document) replaced(kept document) string {
	now, err := d.settings()
	before, errKept := kept.settings()
	if err != nil || errKept != nil || now.APIKey != "" || now.Managed() && now.APIEndpoint != before.APIEndpoint || !now.otherIdentity(before) {
		return ""
	}
	return "config.json came with another uuid or deviceApiKey than before; the file before is kept in " + formerName +
		".json among the supervisor's documents: put it back if the new ones are not meant (an earlier key comes back by itself " +
		"when the cloud refuses the new one and knows the earlier one)"
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
	kept, _ := parseDocument([]byte(c.kept))
	if len(doc.lost(kept, c.hostGives)) > 0 {
		return
	}
	err := c.keepFormer(s, kept)
	if err == nil {
		err = c.docs.Save(copyName, 1, configCopy{text})
	}
	if err != nil {
		c.log.Warn().Err(err).Msg("config.json has no up-to-date copy")
		return
	}
	c.kept = text
}

// keepFormer keeps the copy that is about to be replaced when its uuid or key would be gone with it.
func (c *Config) keepFormer(now Settings, kept document) error {
	before, err := kept.settings()
	if err != nil || before.UUID == "" || before.UUID == now.UUID && (before.DeviceAPIKey == "" || before.DeviceAPIKey == now.DeviceAPIKey) {
		return nil
	}
	var former formerCopies
	if _, err := c.docs.Load(formerName, 1, &former); err != nil {
		return err
	}
	texts := slices.DeleteFunc(former.Texts, func(text string) bool { return text == c.kept })
	texts = slices.Insert(texts, 0, c.kept)
	former.Texts = texts[:min(len(texts), keptFormers)]
	c.log.Warn().Str("document", formerName).Msg("config.json has another identity, the file before is kept")
	return c.docs.Save(formerName, 1, former)
}

// KeptSettings are those of the copy in docs, or otherwise when there is none.
func KeptSettings(docs Documents, otherwise Settings) Settings {
	var saved configCopy
	if found, err := docs.Load(copyName, 1, &saved); found && err == nil {
		doc, _ := parseDocument([]byte(saved.Text))
		if kept, err := doc.settings(); err == nil {
			return kept
		}
	}
	return otherwise
}

// FormerKeys are the values of deviceApiKey that earlier files had for the present uuid and cloud, the newest
// first (docs/spec/host.md 3.2).
func (c *Config) FormerKeys() (keys []string) {
	var former formerCopies
	if _, err := c.docs.Load(formerName, 1, &former); err != nil {
		return nil
	}
	now := c.Get()
	for _, text := range former.Texts {
		doc, _ := parseDocument([]byte(text))
		s, err := doc.settings()
		if key := s.DeviceAPIKey; err == nil && key != "" && key != now.DeviceAPIKey && s.UUID == now.UUID && s.APIEndpoint == now.APIEndpoint {
			keys = append(keys, key)
		}
	}
	return keys
}
