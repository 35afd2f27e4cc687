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

// keys holds the values in a file. Each entry of a list ends with a line break.
type keys map[string]string

// textFile is a file on the boot partition.
type textFile struct {
	path    string
	syntax  *kernelSyntax // of extra_uEnv.txt or extlinux.conf, nil for config.txt
	isFin   bool          // a balenaFin, which always has its overlay
	foreign bool          // the file is another system's: keys that no variable names stay
}

// canonicalKey skips the keys of an Orin, which has its own backend.
func (f *textFile) canonicalKey(key string) string {
	if f.syntax == nil && (key == powerMode || key == fanProfile) {
		return ""
	}
	return key
}

// isFixed reports whether a key must not be changed.
func (f *textFile) isFixed(key string) bool {
	if f.syntax != nil {
		return key != deviceTree && key != isolated
	}
	return slices.Contains(fixedKeys, key)
}

func (f *textFile) parse(text string) keys {
	if f.syntax != nil {
		return f.syntax.parse(text)
	}
	return parseConfig(text)
}

// readText is the content of the file, empty when the file is missing.
func (f *textFile) readText() (string, error) {
	data, err := file.Read(f.path, file.Small)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err // names operation and path
}

func (f *textFile) read() (values, error) {
	text, err := f.readText()
	have, all := make(values), f.parse(text)
	if f.isFin {
		all[overlays] = strings.TrimPrefix(strings.Replace("\n"+all[overlays], "\n"+finOverlay+"\n", "\n", 1), "\n")
	}
	for key, entries := range all {
		if f.canonicalKey(key) != "" && (entries != "" || !isList(key)) {
			have[key] = all.variable(key)
		}
	}
	return have, err
}

// wantedKeys parses the texts of variables. A key with a refused value stays as it is in the file.
func (f *textFile) wantedKeys(given values, have keys) (want keys, refused map[string]error) {
	want, refused = make(keys), make(map[string]error)
	for key, text := range given {
		one, err := f.parseVariable(key, text, have)
		if err != nil {
			refused[key], one = err, have
		}
		want.copyKey(key, one)
	}
	for key := range have {
		if _, named := given[key]; f.foreign && !named {
			want.copyKey(key, have)
		}
	}
	missing := f.isFin
	for _, overlay := range splitLines(want[overlays]) {
		missing = missing && head(overlay, ",") != finOverlay
	}
	if missing {
		want[overlays] += finOverlay + "\n"
	}
	return want, refused
}

var errUnwritable = errors.New("the file cannot hold this value")

// parseVariable parses the text of a variable. It refuses a text that an otherwise empty file does not return when it is
// read back, such as a value of two lines.
func (f *textFile) parseVariable(key, text string, have keys) (one keys, err error) {
	one = make(keys)
	if err := one.set(key, text); err != nil {
		return nil, err
	}
	if f.syntax != nil && one[key] == "" {
		delete(one, key)
	}
	switch {
	case f.isFixed(key):
		if !f.equalKey(key, have, one) {
			return nil, &view.FixedBootError{Key: key}
		}
	case f.firstDifference(f.parse(f.render(f.emptyText(), one)), one) != "":
		return nil, errUnwritable
	}
	return one, nil
}

// copyKey copies a key from another set, or deletes the key when that set lacks it.
func (k keys) copyKey(key string, from keys) {
	delete(k, key)
	if entries, there := from[key]; there {
		k[key] = entries
	}
}

// change renders the new text and parses it again. It refuses values that this file would not return, because they would
// be written again at every start.
func (f *textFile) change(given values) (c change, err error) {
	if f.foreign && len(given) == 0 {
		return c, nil
	}
	text, err := f.readText()
	if err != nil {
		return c, err
	}
	have := f.parse(text)
	want, refused := f.wantedKeys(given, have)
	c.refused = refused
	for f.firstDifference(have, want) != "" {
		next := f.render(text, want)
		key := f.firstDifference(f.parse(next), want)
		if key == "" {
			c.write, c.reboot = func() error { return file.Write(f.path, []byte(next), 0o644) }, true
			break
		}
		if f.equalKey(key, have, want) {
			return c, fmt.Errorf("change %s: the change would alter %s too", f.path, key)
		}
		refused[key] = errUnwritable
		want.copyKey(key, have)
	}
	return c, nil
}

// emptyText is a file without values.
func (f *textFile) emptyText() string {
	if f.syntax == extlinuxSyntax {
		return "LABEL x\n"
	}
	return ""
}

func (f *textFile) render(text string, want keys) string {
	if f.syntax != nil {
		return f.syntax.render(text, want)
	}
	return f.renderConfig(text, want)
}

// firstDifference is a key whose value in have differs from want, empty when there is none. Fixed keys that want lacks,
// and keys of other backends, do not count.
func (f *textFile) firstDifference(have, want keys) string {
	for key := range want {
		if !f.equalKey(key, have, want) {
			return key
		}
	}
	for key := range have {
		if _, wanted := want[key]; !wanted && f.canonicalKey(key) != "" && !f.isFixed(key) {
			return key
		}
	}
	return ""
}

// equalKey reports whether a key has the same value in a and b. It ignores the order of base parameters, and the position
// of the overlay of a balenaFin.
func (f *textFile) equalKey(key string, a, b keys) bool {
	x, inX := a[key]
	y, inY := b[key]
	if key == overlays && f.isFin {
		x, y = finLast(x), finLast(y)
	}
	if key == parameters && x != y && len(x) == len(y) {
		s, t := splitLines(x), splitLines(y)
		slices.Sort(s)
		slices.Sort(t)
		return slices.Equal(s, t)
	}
	return x == y && inX == inY
}

// finLast moves the overlay of balenaFin behind the others.
func finLast(entries string) (list string) {
	last := ""
	for _, overlay := range splitLines(entries) {
		if head(overlay, ",") == finOverlay {
			last += overlay + "\n"
		} else {
			list += overlay + "\n"
		}
	}
	return list + last
}

// head is the text before the first separator.
func head(text, separator string) string {
	text, _, _ = strings.Cut(text, separator)
	return strings.TrimSpace(text)
}

// splitLines splits a text into lines. Carriage returns at the end of a line, also of the last one, are removed.
func splitLines(text string) []string {
	for strings.Contains(text, "\r\n") {
		text = strings.ReplaceAll(text, "\r\n", "\n")
	}
	text = strings.TrimSuffix(strings.TrimRight(text, "\r"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
