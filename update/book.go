package update

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"resin-supervisor/update/current"
)

// Documents is durable storage for small documents, as package store provides it.
type Documents interface {
	Load(name string, version int, v any) (found bool, err error)
	Save(name string, version int, v any) error
}

// book keeps what the engine cannot tell: which images are the agent's, and which release of an app
// was last fully applied (spec/cloud.md 7.1). What it says is durable before it shows.
type book struct {
	docs Documents
	cell *cell
	mu   sync.Mutex // orders the changes; held while saving so that the next starts from what is durable
}

// The documents of the book.
const (
	imagesDocument  = "images"
	commitsDocument = "commits"
	bookVersion     = 1
)

// openBook reads the book into an empty current state.
func openBook(docs Documents) (*book, error) {
	var records []current.Record
	if _, err := docs.Load(imagesDocument, bookVersion, &records); err != nil {
		return nil, fmt.Errorf("open image records: %w", err)
	}
	commits := make(map[string]string)
	if _, err := docs.Load(commitsDocument, bookVersion, &commits); err != nil {
		return nil, fmt.Errorf("open commits: %w", err)
	}
	byKey := make(map[string]current.Record, len(records))
	for _, r := range records {
		byKey[r.Key()] = r
	}
	state := current.Empty().WithRecords(byKey).WithCommits(commits)
	return &book{docs: docs, cell: newCell(state)}, nil
}

// add records images of services.
func (b *book) add(records []current.Record) error {
	return b.records(func(m map[string]current.Record) {
		for _, r := range records {
			m[r.Key()] = r
		}
	})
}

// drop forgets records.
func (b *book) drop(records []current.Record) error {
	return b.records(func(m map[string]current.Record) {
		for _, r := range records {
			delete(m, r.Key())
		}
	})
}

func (b *book) records(change func(map[string]current.Record)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(b.cell.load().Records)
	if next == nil {
		next = make(map[string]current.Record)
	}
	change(next)
	list := make([]current.Record, 0, len(next))
	for _, key := range slices.Sorted(maps.Keys(next)) {
		list = append(list, next[key])
	}
	if err := b.docs.Save(imagesDocument, bookVersion, list); err != nil {
		return fmt.Errorf("store image records: %w", err)
	}
	b.cell.fold(func(s *current.State) *current.State { return s.WithRecords(next) })
	return nil
}

// commit notes the release an app reached; an empty one forgets the app.
func (b *book) commit(appUUID, release string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(b.cell.load().Commits)
	if next == nil {
		next = make(map[string]string)
	}
	if release == "" {
		delete(next, appUUID)
	} else {
		next[appUUID] = release
	}
	if err := b.docs.Save(commitsDocument, bookVersion, next); err != nil {
		return fmt.Errorf("store commits: %w", err)
	}
	b.cell.fold(func(s *current.State) *current.State { return s.WithCommits(next) })
	return nil
}
