package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/view"
)

// keys are what a file says. The entries of a list each end with a line break.
type keys map[string]string

// textFile is a file on the boot partition.
type textFile struct {
	path   string
	kernel *wording // of extra_uEnv.txt or extlinux.conf, nil for config.txt
	fin    bool     // the board always has the overlay of balenaFin
}

// own leaves the keys of an Orin to it.
func (f *textFile) own(key string) string {
	if f.kernel == nil && (key == powerMode || key == fanProfile) {
		return ""
	}
	return key
}

// fixed tells whether a key may not be changed.
func (f *textFile) fixed(key string) bool {
	if f.kernel != nil {
		return key != deviceTree && key != isolated
	}
	return slices.Contains(fixedKeys, key)
}

func (f *textFile) parse(text string) keys {
	if f.kernel != nil {
		return f.kernel.parse(text)
	}
	return parseConfig(text)
}

// text is what the file holds; a missing one is empty.
func (f *textFile) text() (string, error) {
	data, err := file.Read(f.path, file.Small)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err // names operation and path
}

func (f *textFile) read() (values, error) {
	text, err := f.text()
	have, all := make(values), f.parse(text)
	if f.fin {
		all[overlays] = strings.TrimPrefix(strings.Replace("\n"+all[overlays], "\n"+finOverlay+"\n", "\n", 1), "\n")
	}
	for key, entries := range all {
		if f.own(key) != "" && (entries != "" || !isList(key)) {
			have[key] = all.variable(key)
		}
	}
	return have, err
}

// want reads the texts of variables.
func (f *textFile) want(given values) (keys, error) {
	want := make(keys)
	for key, text := range given {
		if err := want.set(key, text); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if f.kernel != nil && want[key] == "" {
			delete(want, key)
		}
	}
	missing := f.fin
	for _, overlay := range rows(want[overlays]) {
		missing = missing && head(overlay, ",") != finOverlay
	}
	if missing {
		want[overlays] = finOverlay + "\n" + want[overlays]
	}
	return want, nil
}

// change works out the new text and reads it back: what would not come back as it is wanted, such as a
// value of two lines, is refused, since it would be written again at every start.
func (f *textFile) change(given values) (write func() error, reboot bool, err error) {
	text, err := f.text()
	if err != nil {
		return nil, false, err
	}
	want, err := f.want(given)
	if err != nil {
		return nil, false, err
	}
	have := f.parse(text)
	for key := range given {
		if f.fixed(key) && !same(key, have, want) {
			return nil, false, &view.FixedBootError{Key: key}
		}
	}
	if f.differing(have, want) == "" {
		return nil, false, nil
	}
	next := ""
	if f.kernel != nil {
		next = f.kernel.render(text, want)
	} else {
		next = f.renderConfig(text, want)
	}
	if key := f.differing(f.parse(next), want); key != "" {
		return nil, false, fmt.Errorf("%s: the value cannot be written to %s", key, f.path)
	}
	return func() error { return file.Write(f.path, []byte(next), 0o644) }, true, nil
}

// differing is a key of which have says something else than want, empty when there is none. Fixed keys
// that nobody names, and keys of others, do not count.
func (f *textFile) differing(have, want keys) string {
	for key := range want {
		if !same(key, have, want) {
			return key
		}
	}
	for key := range have {
		if _, wanted := want[key]; !wanted && f.own(key) != "" && !f.fixed(key) {
			return key
		}
	}
	return ""
}

// same compares what is said of a key. The order of parameters of the base has no meaning.
func same(key string, a, b keys) bool {
	x, inX := a[key]
	y, inY := b[key]
	if key == parameters && x != y && len(x) == len(y) {
		s, t := rows(x), rows(y)
		slices.Sort(s)
		slices.Sort(t)
		return slices.Equal(s, t)
	}
	return x == y && inX == inY
}

// head is what comes before the first separator.
func head(text, separator string) string {
	text, _, _ = strings.Cut(text, separator)
	return strings.TrimSpace(text)
}

// rows are the lines of a text, without their ends.
func rows(text string) []string {
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
