package desired

import (
	"slices"
	"time"

	"resin-supervisor/update/view"
)

// The documents that may be unusable, as users know them.
const (
	cloudTarget  = "target state of the cloud"
	storedTarget = "stored target state"
	preloadFile  = "apps.json"
)

// refuse notes that a document cannot be used, until it or its successor can.
func (t *Targets) refuse(document, text string) {
	t.usable(document)
	t.unusableMu.Lock()
	defer t.unusableMu.Unlock()
	t.unusable = append(t.unusable, view.Problem{At: time.Now(), Subject: document, Step: "refused", Error: text})
}

// usable ends refuse.
func (t *Targets) usable(documents ...string) {
	t.unusableMu.Lock()
	defer t.unusableMu.Unlock()
	t.unusable = slices.DeleteFunc(t.unusable, func(p view.Problem) bool { return slices.Contains(documents, p.Subject) })
}

// Unusable are the documents that cannot be used at all.
func (t *Targets) Unusable() []view.Problem {
	t.unusableMu.Lock()
	defer t.unusableMu.Unlock()
	return slices.Clone(t.unusable)
}
