package userlog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"resin-supervisor/update/delta"
	"resin-supervisor/update/engine"
)

// Log says what the agent does to objects and how that went. A failure that comes up again and again says each cause
// once. It is safe for concurrent use.
type Log struct {
	Voice  Voice
	causes sync.Map // gists of causes ([]string) by object and kind of work, none since the work succeeded
}

// New is a log that speaks by a voice.
func New(v Voice) *Log { return &Log{Voice: v} }

// Do runs f and says how it went. It says nothing of the end of work that was cancelled. key tells the object from
// all others; the key of a container begins with its app.
func (l *Log) Do(p Phrases, key, object string, f func() error) error {
	if !l.Failing(p, key) {
		l.Voice.Event(p.Begin, object, nil)
	}
	err := f()
	switch {
	case err == nil:
		l.causes.Delete(key + p.Failed)
		l.Voice.Event(p.Done, object, nil)
	case errors.Is(err, delta.ErrProcessing):
		l.Voice.Event(deltaProcessing, "", nil)
	case !errors.Is(err, context.Canceled):
		if l.isNew(key+p.Failed, gist(err)) {
			l.Voice.Event(p.Failed, object, err)
		}
	}
	return err
}

// Failing tells whether users know why work on an object fails, and nothing since.
func (l *Log) Failing(p Phrases, key string) bool {
	_, told := l.causes.Load(key + p.Failed)
	return told
}

// maxCauses is how many causes of one failure are remembered: the newest.
const maxCauses = 8

// isNew tells whether users do not know a cause yet, and notes that they do now.
func (l *Log) isNew(key, cause string) bool {
	told, _ := l.causes.Load(key)
	list, _ := told.([]string)
	if slices.Contains(list, cause) {
		return false
	}
	l.causes.Store(key, append(list[max(0, len(list)+1-maxCauses):], cause))
	return true
}

// Forget lets the causes for all objects be said again.
func (l *Log) Forget() { l.causes.Clear() }

// ForgetApp lets the causes for all objects of an app (uuid) be said again, because somebody wants something new of
// the app.
func (l *Log) ForgetApp(uuid string) {
	l.causes.Range(func(key, _ any) bool {
		if strings.HasPrefix(key.(string), uuid) {
			l.causes.Delete(key)
		}
		return true
	})
}

// gist is a cause without what differs each time: engine ids, times, pairs of addresses, and how much room there is.
func gist(err error) string {
	if errors.Is(err, engine.ErrNoRoom) {
		err = engine.ErrNoRoom
	}
	words := strings.Fields(Cause(err))
	for i, w := range words {
		from, to, pair := strings.Cut(w, "->")
		if pair && strings.Contains(from, ":") && strings.Contains(to, ":") || isTime(w) {
			w = ""
		}
		words[i] = withoutIDs(w)
	}
	return strings.Join(words, " ")
}

// isTime tells whether a word has a date and a time of day, as in RFC 3339.
func isTime(w string) bool {
	t := strings.LastIndexByte(w, 'T')
	if t < len(time.DateOnly) || len(w) <= t+len(time.TimeOnly) {
		return false
	}
	_, err := time.Parse("2006-01-02T15:04:05", w[t-len(time.DateOnly):t+1+len(time.TimeOnly)])
	return err == nil
}

// withoutIDs is a word without engine ids and digests, which have 64 hexadecimal digits. A whole word of at least 32
// digits counts as one too. A part of a word does not: names of disks and devices have such parts.
func withoutIDs(w string) string {
	separates := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	whole := strings.TrimPrefix(strings.TrimFunc(w, separates), "sha256:")
	for _, run := range strings.FieldsFunc(w, separates) {
		hex := strings.Trim(run, "0123456789abcdefABCDEF") == ""
		if hex && (len(run) >= 64 || len(run) >= 32 && run == whole) {
			w = strings.ReplaceAll(w, run, "")
		}
	}
	return w
}
