// Package store keeps the agent's durable state as a few small JSON documents, one file each. A
// document is replaced in one step, so a crash or power cut leaves the old or the new one
// (docs/spec/cloud.md 7.5). A document that cannot be read is set aside, never a reason to stop.
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

// Store is a directory of documents. It is safe for concurrent use; of two Saves of one document
// at the same time the later one stays.
type Store struct {
	dir string
	log zerolog.Logger
}

// envelope is the file around every document.
type envelope struct {
	Version int             `json:"version"`
	Data    json.RawMessage `json:"data"`
}

// Open uses dir, made with mode 0700 when it is absent, and removes what a crash left half written.
// It is for the one process that owns the documents; others use Visit.
func Open(dir string, log zerolog.Logger) (*Store, error) {
	s, err := Visit(dir, log)
	if err == nil {
		file.Sweep(dir)
	}
	return s, err
}

// Visit is Open beside a process that may be writing: what looks half written may be its work.
func Visit(dir string, log zerolog.Logger) (*Store, error) {
	if err := file.MakeDir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &Store{dir: dir, log: log}, nil
}

// Load replaces *v by the document name and reports whether there was one. What is no regular file,
// is larger than any document, does not parse, does not fit v or has another version is set aside with a log line and counts as absent,
// and *v stays as it was. The error is for the medium alone.
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

// Save makes *v, or v, the document name: durable when it returns nil, else the old one stays.
// Content that is there already is not written again. The file is for its owner only.
func (s *Store) Save(name string, version int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode document %s: %w", name, err)
	}
	raw, err := json.Marshal(envelope{Version: version, Data: data})
	if err != nil {
		return fmt.Errorf("encode document %s: %w", name, err)
	}
	if len(raw) >= file.Large { // Load would not take it
		return fmt.Errorf("save document %s: too large", name)
	}
	if _, err := file.WriteIfChanged(s.path(name), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("save document %s: %w", name, err)
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name+".json") }

// decode reads an envelope into a fresh value first, so that a document that only fits halfway
// leaves nothing behind in v.
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

// setAside keeps the broken file for people to look at. When even that fails, the next Save
// replaces it.
func (s *Store) setAside(path string, reason error) {
	aside, err := file.SetAside(path)
	s.log.Error().AnErr("reason", reason).Err(err).Str("document", path).Str("aside", aside).
		Msg("unusable document set aside, going on without it")
}
