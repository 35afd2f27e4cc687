package update

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

// received tells which document of the cloud is stored. It is a part of the document of targets, so
// that an etag is never remembered of a target that was lost (docs/spec/cloud.md 7.5).
type received struct {
	Endpoint string `json:"endpoint"`
	UUID     string `json:"uuid"`
	ETag     string `json:"etag"`
	Digest   string `json:"digest"` // of the body
}

// notMoved begins what users are told of a target that cannot be used (docs/spec/cloud.md 3.7).
const notMoved = "Could not move to new release: "

// CloudETag is the etag of the stored target of this device's cloud, empty when there is none.
func (m *Manager) CloudETag() string {
	t := m.targets
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.stored.Received; r.Endpoint == t.endpoint && r.UUID == t.uuid() && t.states[t.endpoint] != nil {
		return r.ETag
	}
	return ""
}

// SetCloudTarget stores the target state that the cloud sent, together with its etag, and applies it
// (docs/spec/cloud.md 3.4, 3.6). changed is false when it says what the one that came last did, in whichever
// words: nothing is done then, so that what waits after a failure waits on (Q4).
// Apps that are malformed are rejected alone; an error of type *view.InvalidTargetError says that
// nothing of the document can be used, and what was stored stays.
func (m *Manager) SetCloudTarget(body []byte, etag string, force bool) (changed bool, err error) {
	t := m.targets
	sum := sha256.Sum256(body)
	now := received{Endpoint: t.endpoint, UUID: t.uuid(), ETag: etag, Digest: hex.EncodeToString(sum[:])}
	if t.holds(now) {
		m.Heard()
		t.refused = ""
		t.usable(cloudTarget)
		m.loop.nudge()
		_, err := t.receive(nil, now)
		return false, err
	}
	state, problems, err := target.DecodeV3(body, now.UUID)
	if err != nil {
		invalid := (*target.InvalidError)(nil)
		if !errors.As(err, &invalid) {
			return false, err
		}
		if t.refused != now.Digest {
			t.refused = now.Digest
			m.notMoved(invalid.Lines)
		}
		t.refuse(cloudTarget, strings.Join(invalid.Lines, "; "))
		m.loop.nudge()
		return false, &view.InvalidTargetError{Problems: invalid.Lines}
	}
	t.refused = ""
	t.usable(cloudTarget)
	t.keep(state, problems)
	if changed, err = t.receive(state, now); err != nil {
		return false, err
	}
	m.Heard()
	if !changed {
		return false, nil
	}
	t.report(problems)
	m.notMoved(texts(problems))
	m.seeTags(state)
	return true, m.adopt(force)
}

func texts(problems []target.Problem) (lines []string) {
	for _, p := range problems {
		lines = append(lines, p.Text)
	}
	return lines
}

// notMoved tells users what is wrong with a target. A contract that is none says so itself.
func (m *Manager) notMoved(lines []string) {
	var rest []string
	for _, line := range lines {
		if strings.HasPrefix(line, "The contract for service ") {
			m.exec.say(notMoved+line, true)
			continue
		}
		rest = append(rest, strings.Split(line, "\n")...)
	}
	if len(rest) == 0 {
		return
	}
	m.exec.say(notMoved+"Invalid target state.", true)
	for _, line := range rest {
		m.exec.say(line, true)
	}
}

// keep takes over what is stored of apps of which not even id and name could be read, as rejected: what
// is not in a target is removed with its data, and these are in it.
func (t *targets) keep(s *target.State, problems []target.Problem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	standIn(s, problems, t.states[t.endpoint])
}

// standIn puts into a target, as rejected, the apps that could not be read: as they were stored, or else
// with their key alone.
func standIn(s *target.State, problems []target.Problem, stored *target.State) {
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
func (t *targets) holds(r received) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.stored.Received
	return old.Digest == r.Digest && old.Endpoint == r.Endpoint && old.UUID == r.UUID && t.states[t.endpoint] != nil
}

// receive stores a target of the cloud with the note of what it was, or the note alone. changed tells
// whether the target says anything else than the one that was stored.
func (t *targets) receive(s *target.State, r received) (changed bool, err error) {
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
	apps, err := t.put(&next, t.endpoint, s)
	if err != nil {
		return false, err
	}
	old := t.stored
	same := t.states[t.endpoint] != nil && old.Received.Digest != "" && bytes.Equal(old.Sources[t.endpoint], next.Sources[t.endpoint]) &&
		old.Name == next.Name && maps.Equal(old.Config, next.Config)
	if same && r.ETag == old.Received.ETag {
		return false, nil // nothing to write: the next poll may bring yet other words for it
	}
	if err := t.save(next); err != nil || same {
		return false, err
	}
	t.states[t.endpoint] = apps
	t.usable(storedTarget, preloadFile)
	return true, nil
}

// PinRequest is the wish of a preload to pin the device to the release it came with.
func (m *Manager) PinRequest() (app int, commit string, wanted bool) {
	m.targets.mu.Lock()
	defer m.targets.mu.Unlock()
	if p := m.targets.stored.Pin; p != nil {
		return p.App, p.Commit, true
	}
	return 0, "", false
}

// PinDone forgets the wish.
func (m *Manager) PinDone() error {
	m.targets.mu.Lock()
	defer m.targets.mu.Unlock()
	next := m.targets.next()
	next.Pin = nil
	return m.targets.save(next)
}
