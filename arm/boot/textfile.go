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
	keeps  bool     // the file is another system's: what nobody names stays
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

// want reads the texts of variables. A key whose value is refused stays as the file has it.
func (f *textFile) want(given values, have keys) (want keys, refused map[string]error) {
	want, refused = make(keys), make(map[string]error)
	for key, text := range given {
		one, err := f.one(key, text, have)
		if err != nil {
			refused[key], one = err, have
		}
		want.take(key, one)
	}
	for key := range have {
		if _, named := given[key]; f.keeps && !named {
			want.take(key, have)
		}
	}
	missing := f.fin
	for _, overlay := range rows(want[overlays]) {
		missing = missing && head(overlay, ",") != finOverlay
	}
	if missing {
		want[overlays] += finOverlay + "\n"
	}
	return want, refused
}

var errUnwritable = errors.New("the file cannot hold this value")

// one reads the text of a variable. It is refused when a file that says nothing else would not give it back,
// such as a value of two lines.
func (f *textFile) one(key, text string, have keys) (one keys, err error) {
	one = make(keys)
	if err := one.set(key, text); err != nil {
		return nil, err
	}
	if f.kernel != nil && one[key] == "" {
		delete(one, key)
	}
	switch {
	case f.fixed(key):
		if !f.same(key, have, one) {
			return nil, &view.FixedBootError{Key: key}
		}
	case f.differing(f.parse(f.render(f.blank(), one)), one) != "":
		return nil, errUnwritable
	}
	return one, nil
}

// take takes a key over, or its absence.
func (k keys) take(key string, from keys) {
	delete(k, key)
	if entries, there := from[key]; there {
		k[key] = entries
	}
}

// change works out the new text and reads it back: what would not come back in this file is refused too,
// since it would be written again at every start.
func (f *textFile) change(given values) (c change, err error) {
	if f.keeps && len(given) == 0 {
		return c, nil
	}
	text, err := f.text()
	if err != nil {
		return c, err
	}
	have := f.parse(text)
	want, refused := f.want(given, have)
	c.refused = refused
	for f.differing(have, want) != "" {
		next := f.render(text, want)
		key := f.differing(f.parse(next), want)
		if key == "" {
			c.write, c.reboot = func() error { return file.Write(f.path, []byte(next), 0o644) }, true
			break
		}
		if f.same(key, have, want) {
			return c, fmt.Errorf("change %s: %s cannot stay as it is", f.path, key)
		}
		refused[key] = errUnwritable
		want.take(key, have)
	}
	return c, nil
}

// blank is a file that says nothing.
func (f *textFile) blank() string {
	if f.kernel == extlinuxWords {
		return "LABEL x\n"
	}
	return ""
}

func (f *textFile) render(text string, want keys) string {
	if f.kernel != nil {
		return f.kernel.render(text, want)
	}
	return f.renderConfig(text, want)
}

// differing is a key of which have says something else than want, empty when there is none. Fixed keys
// that nobody names, and keys of others, do not count.
func (f *textFile) differing(have, want keys) string {
	for key := range want {
		if !f.same(key, have, want) {
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

// same compares what is said of a key. The order of parameters of the base has no meaning, nor has the
// place of the overlay that the board always has.
func (f *textFile) same(key string, a, b keys) bool {
	x, inX := a[key]
	y, inY := b[key]
	if key == overlays && f.fin {
		x, y = finLast(x), finLast(y)
	}
	if key == parameters && x != y && len(x) == len(y) {
		s, t := rows(x), rows(y)
		slices.Sort(s)
		slices.Sort(t)
		return slices.Equal(s, t)
	}
	return x == y && inX == inY
}

// finLast puts the overlay of finOverlay behind the others.
func finLast(entries string) (list string) {
	last := ""
	for _, overlay := range rows(entries) {
		if head(overlay, ",") == finOverlay {
			last += overlay + "\n"
		} else {
			list += overlay + "\n"
		}
	}
	return list + last
}

// head is what comes before the first separator.
func head(text, separator string) string {
	text, _, _ = strings.Cut(text, separator)
	return strings.TrimSpace(text)
}

// rows are the lines of a text, without their ends. Carriage returns before an end, also that of the text, belong to it.
func rows(text string) []string {
	for strings.Contains(text, "\r\n") {
		text = strings.ReplaceAll(text, "\r\n", "\n")
	}
	text = strings.TrimSuffix(strings.TrimRight(text, "\r"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
