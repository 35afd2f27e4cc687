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

// Documents stores documents durably, each under a name.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

const (
	// copyName is the document with the last valid config.json that had an identity.
	copyName = "identity"
	// formerName is the document with earlier files that had another identity.
	formerName = "identity-before"
	// maxFormers is how many earlier files are kept. The oldest is dropped first.
	maxFormers = 4
)

// configCopy holds the exact text of the file.
type configCopy struct {
	Text string `json:"text"`
}

// formerCopies holds the exact texts of earlier files, the newest first.
type formerCopies struct {
	Texts []string `json:"texts"`
}

// KeepConfig is OpenConfig for the start of the daemon. It keeps a copy of the file in docs. From the copy it restores
// the device's identity if the file is missing, unreadable or incomplete (docs/spec/host.md 3.2). The notice tells
// the user what was wrong and what was done; it is empty if nothing was. With hostGives, where the host gives every
// device a file, a missing file without a copy is an error, and a uuid or deviceApiKey that the host generated in
// place of a lost one counts as lost.
func KeepConfig(path string, docs Documents, hostGives bool, log zerolog.Logger) (c *Config, notice string, err error) {
	file.Sweep(filepath.Dir(path))
	c = &Config{path: path, docs: docs, hostGives: hostGives, log: log}
	var saved configCopy
	if _, err := docs.Load(copyName, 1, &saved); err != nil {
		return nil, "", err
	}
	c.copyText = saved.Text
	copied, _ := parseDocument([]byte(saved.Text)) // nil when there is no copy
	doc, _, err := c.load()
	switch gone := errors.Is(err, fs.ErrNotExist); {
	case copied == nil && gone && hostGives:
		return nil, "", fmt.Errorf("find %s: the file is missing and there is no copy of it; to keep this device from getting a second identity, "+
			"the supervisor does not start: put the device's config.json back, or set up the device again", path)
	case copied != nil && (err != nil || doc.isBlank(copied, hostGives)):
		notice = c.restoreFile(err)
	case copied != nil:
		notice, err = c.restoreKeys(doc, copied)
		if err != nil {
			return nil, "", err
		}
	}
	return c, notice, c.Reload()
}

// isBlank reports whether the file lost all its settings. The host gives an empty file a new uuid.
func (d document) isBlank(copied document, hostGives bool) bool {
	return len(d) == 0 || hostGives && len(d) == 1 && d.has("uuid") && len(copied) > 1 && !sameText(d["uuid"], copied["uuid"])
}

// restoreFile writes the copy to the file, and sets a broken file aside. If the file cannot be written, the supervisor
// uses the copy.
func (c *Config) restoreFile(cause error) string {
	notice := "config.json was missing"
	if cause == nil {
		notice = "config.json held no settings"
	} else if !errors.Is(cause, fs.ErrNotExist) {
		notice = "config.json could not be read (" + cause.Error() + ")"
		if aside, err := file.SetAside(c.path); err == nil {
			notice += " and was renamed to " + aside
		}
	}
	c.present = true
	if err := file.Write(c.path, []byte(c.copyText), 0o600); err != nil {
		c.fallback = c.copyText
		return notice + "; it cannot be written (" + err.Error() + "), so the supervisor uses its copy; the next change of a setting tries to write it again"
	}
	return notice + "; it was restored from its copy, with the same identity and keys"
}

// restoreKeys restores the keys of the identity that the file lost.
func (c *Config) restoreKeys(doc, copied document) (notice string, err error) {
	lost := doc.lostKeys(copied, c.hostGives)
	if len(lost) == 0 {
		return doc.replacedNotice(copied), nil
	}
	for _, key := range lost {
		doc[key] = copied[key]
	}
	if _, err := c.write(doc); err != nil {
		return "", err
	}
	return "config.json had lost " + strings.Join(lost, ", ") + "; restored from its copy", nil
}

// identityKeys are the keys of config.json that identify a device in its cloud.
var identityKeys = [...]string{"uuid", "deviceApiKey", "deviceId", "registered_at"}

// lostKeys returns the identity keys of the copy that the file has lost. A file with a provisioning key, of another
// cloud or of another registration describes another device on purpose, and has lost nothing. With hostGives, all
// keys are lost if the file could never register, or if it has the deviceId of the copy and another uuid: then the
// host generated uuid and key for a file without them.
func (d document) lostKeys(copied document, hostGives bool) (keys []string) {
	now, err := d.settings()
	before, errCopied := copied.settings()
	if err != nil || errCopied != nil || now.APIKey != "" || now.APIEndpoint != before.APIEndpoint ||
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
		if copied.has(key) && (!d.has(key) || all && !sameValue(d[key], copied[key])) {
			keys = append(keys, key)
		}
	}
	return keys
}

// differ reports whether two numbers are both set and different.
func differ(a, b int64) bool { return a != 0 && b != 0 && a != b }

// otherIdentity reports whether the file has a uuid or key that differs from the one before.
func (s Settings) otherIdentity(before Settings) bool {
	return s.UUID != "" && s.UUID != before.UUID ||
		s.DeviceAPIKey != "" && before.DeviceAPIKey != "" && s.DeviceAPIKey != before.DeviceAPIKey
}

// replacedNotice returns the notice for a file with an unexpected new identity: neither a provisioning key nor another
// cloud explains it. It is empty for any other file.
func (d document) replacedNotice(copied document) string {
	now, err := d.settings()
	before, errCopied := copied.settings()
	if err != nil || errCopied != nil || now.APIKey != "" || now.Managed() && now.APIEndpoint != before.APIEndpoint || !now.otherIdentity(before) {
		return ""
	}
	return "config.json has another uuid or deviceApiKey than before; the earlier file is kept in " + formerName +
		".json among the supervisor's documents: put it back if you did not want this change (if the cloud refuses the new key and " +
		"accepts an earlier one, the supervisor restores that key itself)"
}

// has reports whether a key has a value.
func (d document) has(key string) bool {
	switch string(d[key]) {
	case "", "null", `""`:
		return false
	}
	return true
}

// saveCopy makes a valid file the copy, unless it has no identity or lost a part of it. The caller holds editing.
func (c *Config) saveCopy(data []byte, doc document, s Settings) {
	text := string(data)
	if c.docs == nil || s.UUID == "" || text == c.copyText {
		return
	}
	copied, _ := parseDocument([]byte(c.copyText))
	if len(doc.lostKeys(copied, c.hostGives)) > 0 {
		return
	}
	err := c.saveFormer(s, copied)
	if err == nil {
		err = c.docs.Save(copyName, 1, configCopy{text})
	}
	if err != nil {
		c.log.Warn().Err(err).Msg("cannot update the copy of config.json, will retry with the next change")
		return
	}
	c.copyText = text
}

// saveFormer keeps the copy that is about to be replaced if the new one has another uuid or key.
func (c *Config) saveFormer(now Settings, copied document) error {
	before, err := copied.settings()
	if err != nil || before.UUID == "" || before.UUID == now.UUID && (before.DeviceAPIKey == "" || before.DeviceAPIKey == now.DeviceAPIKey) {
		return nil
	}
	var former formerCopies
	if _, err := c.docs.Load(formerName, 1, &former); err != nil {
		return err
	}
	texts := slices.DeleteFunc(former.Texts, func(text string) bool { return text == c.copyText })
	texts = slices.Insert(texts, 0, c.copyText)
	former.Texts = texts[:min(len(texts), maxFormers)]
	c.log.Warn().Str("document", formerName).Msg("config.json has another identity, kept the earlier file")
	return c.docs.Save(formerName, 1, former)
}

// KeptSettings returns the settings of the copy in docs, or fallback if there is none.
func KeptSettings(docs Documents, fallback Settings) Settings {
	var saved configCopy
	if found, err := docs.Load(copyName, 1, &saved); found && err == nil {
		doc, _ := parseDocument([]byte(saved.Text))
		if copied, err := doc.settings(); err == nil {
			return copied
		}
	}
	return fallback
}

// FormerKeys returns the values of deviceApiKey in earlier files with the current uuid and cloud, the newest first
// (docs/spec/host.md 3.2).
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
