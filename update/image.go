package update

import (
	"context"
	"errors"
	"strings"

	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
)

// removeImage drops the records of an image and, unless another record or container still stands on
// it, the names by which we know it; the engine deletes an image with its last name
// (spec/engine.md 8.6, D21). Names that others gave the image are left alone.
func (x *executor) removeImage(ctx context.Context, s plan.Step) error {
	x.cell.note(func(c *current.State) *current.State { return c.WithDeleting(s.Image, true) })
	defer x.cell.fold(func(c *current.State) *current.State { return c.WithDeleting(s.Image, false) })
	ref, err := target.ParseReference(s.Image)
	if err != nil {
		return err
	}
	if id := s.Records[0].EngineID; !stillUsed(x.cell.load(), s, id, ref) {
		if err := x.untag(ctx, id, ref.Name()); err != nil {
			return err
		}
	}
	return x.book.drop(s.Records)
}

// stillUsed tells whether a record outside the step needs the image under the repository of ref. An
// image that a container stands on is the engine's to keep: it refuses to remove its last name.
func stillUsed(c *current.State, s plan.Step, id string, ref target.Reference) bool {
	dropped := make(map[string]bool, len(s.Records))
	for _, r := range s.Records {
		dropped[r.Key()] = true
	}
	for key, r := range c.Records {
		if dropped[key] || r.EngineID != id {
			continue
		}
		if other, err := target.ParseReference(r.Name); err != nil || other.Name() == ref.Name() {
			return true
		}
	}
	return false
}

// untag removes the tags, then the digests, by which an image belongs to a repository.
func (x *executor) untag(ctx context.Context, id, repo string) error {
	for _, separator := range []string{":", "@"} {
		image, err := x.engine.Image(ctx, id)
		if engine.IsNotFound(err) {
			break
		}
		if err != nil {
			return err
		}
		for _, name := range append(image.RepoTags, image.RepoDigests...) {
			if !strings.HasPrefix(name, repo+separator) || strings.Contains(name[len(repo)+1:], "/") {
				continue
			}
			if _, err := x.engine.RemoveImage(ctx, name, false); err != nil && !engine.IsNotFound(err) {
				return errors.Join(err, x.watch.look(ctx, object{"image", id}))
			}
		}
	}
	return x.watch.look(ctx, object{"image", id})
}
