// Package store keeps the supervisor's durable state as a few small JSON documents, one file each. A document is
// replaced atomically: a crash or power cut leaves the old or the new one (docs/spec/cloud.md 7.5). A document
// that cannot be read is set aside, and the supervisor continues without it.
package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/rs/zerolog"

	"resin-supervisor/hostos/file"
)

// Store is a directory of documents. It is safe for concurrent use.
type Store struct {
	dir string
	log zerolog.Logger
}

// envelope is the file around every document.
type envelope struct {
	Version int             `json:"version"`
	Data    json.RawMessage `json:"data"`
}

// Open opens the store in dir, which it makes with mode 0700 if it is missing, and removes temporary files that a
// crash left. Only the process that owns the documents may call Open; others call Visit.
func Open(dir string, log zerolog.Logger) (*Store, error) {
	s, err := Visit(dir, log)
	if err == nil {
		file.Sweep(dir)
	}
	return s, err
}

// Visit opens the store while its owner may be writing: it leaves temporary files alone.
func Visit(dir string, log zerolog.Logger) (*Store, error) {
	if err := file.MakeDir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &Store{dir: dir, log: log}, nil
}

// Load reads the document name into *v and reports whether there was one. An unusable file (not a regular file, too
// large, not parseable into v, or of another version) is set aside with a log line. It counts as missing, and *v
// stays unchanged. The error reports a failure of the storage.
func (s *Store) Load(name string, version int, v any) (found bool, err error) {
	path := s.path(name)
	raw, err := file.Read(path, file.Large)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if errors.Is(err, file.ErrUnfit) {
		s.setAside(path, err)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("load document %s: %w", name, err)
	}
	if err := decode(raw, version, v); err != nil {
		s.setAside(path, err)
		return false, nil
	}
	return true, nil
}

// Save stores v, or what v points to, as the document name. The document is durable when Save returns nil; after an
// error the old one stays. Save does not write unchanged content. Only its owner can read the file.
func (s *Store) Save(name string, version int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode document %s: %w", name, err)
	}
	raw, err := json.Marshal(envelope{Version: version, Data: data})
	if err != nil {
		return fmt.Errorf("encode document %s: %w", name, err)
	}
	if len(raw) >= file.Large { // Load would refuse it
		return fmt.Errorf("save document %s: too large", name)
	}
	if _, err := file.WriteIfChanged(s.path(name), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("save document %s: %w", name, err)
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name+".json") }

// decode reads an envelope into a fresh value first, so that a decoding error leaves v unchanged.
func decode(raw []byte, version int, v any) error {
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("parse: %w", err)
	}
	if e.Version != version {
		return fmt.Errorf("version %d, not %d", e.Version, version)
	}
	if data := bytes.TrimSpace(e.Data); len(data) == 0 || string(data) == "null" {
		return errors.New("no data")
	}
	target := reflect.ValueOf(v).Elem()
	fresh := reflect.New(target.Type())
	if err := json.Unmarshal(e.Data, fresh.Interface()); err != nil {
		return fmt.Errorf("parse data: %w", err)
	}
	target.Set(fresh.Elem())
	return nil
}

// setAside renames an unusable file, so that a person can inspect it. If that fails, the next Save replaces it.
func (s *Store) setAside(path string, reason error) {
	aside, err := file.SetAside(path)
	s.log.Error().AnErr("reason", reason).Err(err).Str("document", path).Str("aside", aside).
		Msg("document is unusable, set it aside and continued without it")
}
