package desired

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"strings"

	"resin-supervisor/update/target"
	"resin-supervisor/update/view"
)

// received tells which document of the cloud is stored. It is part of the document of targets, so that no etag is kept
// of a target that was lost (docs/spec/cloud.md 7.5).
type received struct {
	Endpoint string `json:"endpoint"`
	UUID     string `json:"uuid"`
	ETag     string `json:"etag"`
	Digest   string `json:"digest"` // of the body
}

// CloudETag is the etag of the stored target of this device's cloud, empty when there is none.
func (t *Targets) CloudETag() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.stored.Received; r.Endpoint == t.o.Endpoint && r.UUID == t.o.UUID() && t.states[t.o.Endpoint] != nil {
		return r.ETag
	}
	return ""
}

// SetCloud stores the target state that the cloud sent, with its etag (docs/spec/cloud.md 3.4, 3.6). It returns the
// target when that says anything else than the stored one, and nil when it says the same in whichever words. heard
// tells whether the cloud has a target that can be used, stored or not. Apps that are malformed are rejected alone. An
// error of type *view.InvalidTargetError says that the document cannot be used at all: what was stored stays. One
// goroutine calls SetCloud at a time.
func (t *Targets) SetCloud(body []byte, etag string) (s *target.State, heard bool, err error) {
	sum := sha256.Sum256(body)
	now := received{Endpoint: t.o.Endpoint, UUID: t.o.UUID(), ETag: etag, Digest: hex.EncodeToString(sum[:])}
	if t.holds(now) {
		t.refused = ""
		t.usable(cloudTarget)
		_, err := t.receive(nil, now)
		return nil, true, err
	}
	state, problems, err := target.DecodeV3(body, now.UUID)
	if err != nil {
		invalid := (*target.InvalidError)(nil)
		if !errors.As(err, &invalid) {
			return nil, false, err
		}
		if t.refused != now.Digest {
			t.refused = now.Digest
			t.o.Say.InvalidTarget(invalid.Lines)
		}
		t.refuse(cloudTarget, strings.Join(invalid.Lines, "; "))
		return nil, false, &view.InvalidTargetError{Problems: invalid.Lines}
	}
	t.refused = ""
	t.usable(cloudTarget)
	t.keep(state, problems)
	changed, err := t.receive(state, now)
	if err != nil || !changed {
		return nil, err == nil, err
	}
	t.report(problems)
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.Text)
	}
	t.o.Say.InvalidTarget(lines)
	return state, true, nil
}

// keep takes over, as rejected, what is stored of apps of which not even id and name could be read. What is not in a
// target is removed with its data, and these apps are in the target.
func (t *Targets) keep(s *target.State, problems []target.Problem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	restoreRejected(s, problems, t.states[t.o.Endpoint])
}

// restoreRejected puts into a target, as rejected, the apps that could not be read: as they were stored, or with their
// uuid alone.
func restoreRejected(s *target.State, problems []target.Problem, stored *target.State) {
	for _, p := range problems {
		if s.Apps[p.App] != nil {
			continue
		}
		app := target.App{UUID: p.App, ID: target.UnknownID, Name: p.App, Class: "fleet"}
		if stored != nil && stored.Apps[p.App] != nil {
			app = *stored.Apps[p.App]
		}
		app.Rejected = p.Text
		s.Apps[p.App] = &app
	}
}

// holds tells whether a document is the one that was stored last.
func (t *Targets) holds(r received) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.stored.Received
	return old.Digest == r.Digest && old.Endpoint == r.Endpoint && old.UUID == r.UUID && t.states[t.o.Endpoint] != nil
}

// receive stores a target of the cloud with the note of what it was, or the note alone. changed tells
// whether the target says anything else than the one that was stored.
func (t *Targets) receive(s *target.State, r received) (changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.next()
	next.Received = r
	if s == nil {
		if r == t.stored.Received {
			return false, nil
		}
		return false, t.save(next)
	}
	apps, err := t.put(&next, t.o.Endpoint, s)
	if err != nil {
		return false, err
	}
	old := t.stored
	same := t.states[t.o.Endpoint] != nil && old.Received.Digest != "" && bytes.Equal(old.Sources[t.o.Endpoint], next.Sources[t.o.Endpoint]) &&
		old.Name == next.Name && maps.Equal(old.Config, next.Config)
	if same && r.ETag == old.Received.ETag {
		return false, nil // nothing to write
	}
	if err := t.save(next); err != nil || same {
		return false, err
	}
	t.states[t.o.Endpoint] = apps
	t.usable(storedTarget, preloadFile)
	return true, nil
}
