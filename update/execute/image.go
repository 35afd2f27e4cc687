package execute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
	"resin-supervisor/update/userlog"
)

// removeImage drops the records of an image. Unless another record or container still needs the image, it also removes
// the names that the agent knows. The engine deletes an image with its last name; removeImage deletes one that has lost
// all names (docs/spec/engine.md 8.6, D21). It leaves names alone that others gave the image.
func (x *Executor) removeImage(ctx context.Context, s plan.Step) error {
	x.store.UpdateQuietly(func(c *current.State) *current.State { return c.WithDeleting(s.Image, true) })
	defer x.store.Update(func(c *current.State) *current.State { return c.WithDeleting(s.Image, false) })
	ref, err := target.ParseReference(s.Records[0].Name)
	if err != nil {
		return err
	}
	if id := s.Records[0].EngineID; !stillUsed(x.store.Load(), s, id, ref) {
		// The image still has a name after its own name passed to another image: somebody else gave it.
		if image := x.store.Load().Images[id]; s.Records[0].Former && image != nil && len(image.Tags) > 0 {
			return x.ledger.DropImages(s.Records)
		}
		if err := x.users.Do(userlog.Deleting, s.Image, s.Image, func() error { return x.untag(ctx, id, ref.Name()) }); err != nil {
			return err
		}
	}
	return x.ledger.DropImages(s.Records)
}

// stillUsed tells whether a record outside the step needs the image under the repository of ref. The engine itself keeps
// an image that a container needs: it refuses to remove the last name.
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

// cleanUp removes an image without a name, or one name of an image. It forces nothing: an image that any container needs
// stays (deviates from docs/spec/engine.md 8.7).
func (x *Executor) cleanUp(ctx context.Context, s plan.Step) error {
	_, err := x.engine.RemoveImage(ctx, s.Image, false)
	if err != nil {
		x.users.Voice(fmt.Sprintf("Error cleaning up %s: %v - will ignore for 1 hour", s.IDs[0], err), true)
	}
	return errors.Join(err, x.watch.Inspect(ctx, observe.Image(s.IDs[0])))
}

// untag removes the tags, then the digests, by which an image belongs to a repository.
func (x *Executor) untag(ctx context.Context, id, repo string) error {
	for _, separator := range []string{":", "@"} {
		image, err := x.engine.Image(ctx, id)
		if engine.IsNotFound(err) {
			break
		}
		if err != nil {
			return err
		}
		names := append(image.RepoTags, image.RepoDigests...)
		if len(names) == 0 {
			if _, err := x.engine.RemoveImage(ctx, id, false); err != nil && !engine.IsNotFound(err) {
				return errors.Join(err, x.watch.Inspect(ctx, observe.Image(id)))
			}
		}
		for _, name := range names {
			if !strings.HasPrefix(name, repo+separator) || strings.Contains(name[len(repo)+1:], "/") {
				continue
			}
			if _, err := x.engine.RemoveImage(ctx, name, false); err != nil && !engine.IsNotFound(err) {
				return errors.Join(err, x.watch.Inspect(ctx, observe.Image(id)))
			}
		}
	}
	return x.watch.Inspect(ctx, observe.Image(id))
}

// fetch downloads an image unless it is on the device, tags it so that nothing prunes it, and records which services
// need it (docs/spec/engine.md 8.3).
func (x *Executor) fetch(ctx context.Context, s plan.Step) error {
	if found := x.store.Load().FindImage(s.Image); found != nil {
		return x.keep(ctx, s, found.ID)
	}
	best := -1 // of all attempts: what is shown never goes down
	percent := func(p int) {
		if p <= best {
			return
		}
		best = p
		x.store.UpdateQuietly(func(c *current.State) *current.State {
			return c.WithPull(s.Image, current.Pull{Percent: p, For: s.Records})
		})
	}
	percent(0)
	defer x.store.Update(func(c *current.State) *current.State { return c.WithoutPull(s.Image) })
	phrases := userlog.Downloading
	if s.From != nil {
		phrases = userlog.Patching
	}
	var id string
	err := x.users.Do(phrases, s.Image, s.Image, func() (err error) {
		id, err = x.download(ctx, s, percent)
		return err
	})
	if err != nil {
		return err
	}
	return x.keep(ctx, s, id)
}

// download pulls an image, as a delta where there is one, and returns its engine id.
func (x *Executor) download(ctx context.Context, s plan.Step, percent func(int)) (id string, err error) {
	if s.From != nil {
		if id, err = x.pullDelta(ctx, s, percent); id != "" || err != nil {
			return id, err
		}
		if !x.users.Failing(userlog.Downloading, s.Image) {
			x.users.Voice.Event(userlog.Downloading.Begin, s.Image, nil)
		}
	}
	ref, err := target.ParseReference(s.Image)
	if err != nil {
		return "", err
	}
	return x.pull(ctx, ref, x.images.Auth(ref.Registry), percent)
}

func (x *Executor) pull(ctx context.Context, ref target.Reference, auth *doc.AuthConfig, percent func(int)) (id string, err error) {
	tag := ref.Tag
	if ref.Digest != "" {
		tag = ref.Digest
	}
	if err := x.engine.Pull(ctx, ref.Name(), tag, auth, percent); err != nil {
		return "", err
	}
	image, err := x.engine.Image(ctx, ref.String())
	if err != nil {
		return "", err
	}
	return image.Id, nil
}

// save records an image that is on the device already.
func (x *Executor) save(ctx context.Context, s plan.Step) error {
	return x.keep(ctx, s, s.Records[0].EngineID)
}

// keep tags an image with the name that the target has, and records the services that need it (docs/spec/engine.md 8.2).
// For a name with a digest the tag is latest, unless somebody else uses that tag.
func (x *Executor) keep(ctx context.Context, s plan.Step, id string) error {
	ref, err := target.ParseReference(s.Image)
	if err != nil {
		return err
	}
	name := target.Reference{Registry: ref.Registry, Repo: ref.Repo, Tag: ref.Tag}.String()
	cur := x.store.Load()
	if image := cur.Images[id]; (image == nil || !slices.Contains(image.Tags, name)) && (ref.Digest == "" || isFree(cur, name, ref.Name())) {
		err := x.engine.TagImage(ctx, id, ref.Name(), ref.Tag)
		if err = errors.Join(err, x.watch.Inspect(ctx, observe.Image(id))); err != nil {
			return err
		}
	}
	records := make([]current.Record, len(s.Records))
	for i, r := range s.Records {
		r.EngineID = id
		records[i] = r
	}
	return x.ledger.AddImages(records)
}

// isFree tells whether an image that is named by its digest may get a tag of its repository: no image has the tag, or one
// that got it for the same reason. A tag that people gave to an image they built is not free, since services use it.
func isFree(c *current.State, tag, repo string) bool {
	holder := c.FindImage(tag)
	free := holder == nil
	for _, r := range c.Records {
		if r.Name == tag && !r.Former {
			return false
		}
		free = free || r.EngineID == holder.ID && strings.HasPrefix(r.Name, repo+"@")
	}
	return free
}
