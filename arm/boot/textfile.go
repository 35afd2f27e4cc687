package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/view"
)

// keys are what a file says: the entries of each key, one for a key that is no list.
type keys map[string][]string

// syntax is how a file says it.
type syntax interface {
	// owns tells whether the file may hold a key.
	owns(key string) bool
	// fixed tells whether a key may not be changed.
	fixed(key string) bool
	parse(text string) keys
	// same compares the entries of a key.
	same(key string, a, b []string) bool
	// want reads the text of a variable, and complete adds what the board always has.
	want(key, text string) ([]string, error)
	complete(want keys)
	// variable is the text of a variable, and shown false for what is the board's own.
	variable(key string, entries []string) (text string, shown bool)
	// render changes text so that it says what is wanted; keys that are fixed stay as they are.
	render(text string, want keys) string
}

// textFile is a file on the boot partition.
type textFile struct {
	path, prefix string
	syntax
}

func (f *textFile) variable(key string) string { return f.prefix + key }

func (f *textFile) key(variable string) string {
	key, ok := strings.CutPrefix(variable, f.prefix)
	if !ok || !f.owns(key) {
		return ""
	}
	return key
}

// text is what the file holds; a missing one is empty.
func (f *textFile) text() (string, error) {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err // names operation and path
}

func (f *textFile) read() (values, error) {
	text, err := f.text()
	have := make(values)
	for key, entries := range f.parse(text) {
		if text, shown := f.syntax.variable(key, entries); shown && f.owns(key) {
			have[key] = text
		}
	}
	return have, err
}

// change works out the new text and reads it back: what would not come back as it is wanted, such as a
// value of two lines, is refused, since it would be written again at every start.
func (f *textFile) change(given values) (write func() error, reboot bool, err error) {
	text, err := f.text()
	if err != nil {
		return nil, false, err
	}
	want, have := make(keys), f.parse(text)
	for key, text := range given {
		entries, err := f.want(key, text)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", key, err)
		}
		if len(entries) > 0 {
			want[key] = entries
		}
		if f.fixed(key) && !f.same(key, have[key], entries) {
			return nil, false, &view.FixedBootError{Key: key}
		}
	}
	f.complete(want)
	if f.differing(have, want) == "" {
		return nil, false, nil
	}
	next := f.render(text, want)
	if key := f.differing(f.parse(next), want); key != "" {
		return nil, false, fmt.Errorf("%s: the value cannot be written to %s", key, f.path)
	}
	return func() error {
		_, err := file.WriteIfChanged(f.path, []byte(next), 0o644)
		return err
	}, true, nil
}

// differing is a key of which have says something else than want, empty when there is none. Fixed keys
// that nobody names, and keys of others, do not count.
func (f *textFile) differing(have, want keys) string {
	for key, entries := range want {
		if !f.same(key, have[key], entries) {
			return key
		}
	}
	for key := range have {
		if want[key] == nil && f.owns(key) && !f.fixed(key) {
			return key
		}
	}
	return ""
}

// exists tells whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// rows are the lines of a text, without their ends.
func rows(text string) []string {
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// joined is the text of lines.
func joined(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}
