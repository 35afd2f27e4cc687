package update

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/registry"
	"resin-supervisor/update/target"
)

// errNoRoom says that images that are to be downloaded would not fit.
var errNoRoom = errors.New("not enough room for the download")

// lookAhead tells whether images can be had, before anything is stopped for them: that they exist, that the
// device may have them, that they run here, and that there is room.
//
// Whether an image is to be had is the engine's to say: it asks by the way that it would pull by, with its
// own proxies, certificates and mirrors. It does not say how large an image is, so that is read from the
// registry here. Where the registry cannot be reached from here, but by the engine, the size stays unknown
// and holds nothing up.
func (x *executor) lookAhead(ctx context.Context, s plan.Step) error {
	return x.do(lookingAhead, s.AppUUID, s.AppName, func() error { return x.foresee(ctx, s) })
}

// closerLook bounds how long registries are asked for the sizes of layers. All other calls have bounds of
// their own: the more images there are, the longer a look may take.
const closerLook = 5 * time.Minute

func (x *executor) foresee(ctx context.Context, s plan.Step) error {
	info, err := x.engine.Info(ctx)
	if err != nil {
		return err
	}
	a := &ahead{x: x, machine: info.Architecture, indexes: info.RegistryConfig.IndexConfigs, cur: x.cell.load(), app: s.AppUUID, mute: make(chains)}
	if v, err := x.engine.Negotiate(ctx); err == nil && v.Arch == "arm" && a.machine == "aarch64" {
		a.machine = "armv8l" // the kernel is of 64 bits, the engine is not
	}
	here := a.cur.Finder()
	for _, image := range s.Images {
		if here.Find(image) == nil {
			if err := a.look(ctx, image); err != nil {
				return err
			}
		}
	}
	free, err := x.free(info.DockerRootDir)
	if err != nil {
		a.unsure(err)
		return nil
	}
	return a.fit(ctx, free, s.IDs)
}

// ahead is one look ahead.
type ahead struct {
	x       *executor
	machine string
	indexes map[string]struct{ Secure bool }
	cur     *current.State
	app     string             // uuid
	found   [][]registry.Layer // of the images of which the layers are known
	mute    chains             // registries that cannot be reached from here: one wait for each is enough
}

// unsure says that something could not be found out that does not hold the update up.
func (a *ahead) unsure(err error) {
	a.x.log.Warn().Err(err).Msg("whether there is room for the download is not known")
}

func (a *ahead) rank(arch, variant string) int {
	return current.Rank(a.machine, arch, variant)
}

// look asks for one image.
func (a *ahead) look(ctx context.Context, image string) error {
	ref, err := target.ParseReference(image)
	if err != nil {
		return err
	}
	auth := a.x.auth(ref.Registry)
	said, missing := a.x.engine.Distribution(ctx, image, auth)
	if missing == nil {
		err = a.platform(image, &said)
	} else if !engine.IsMissing(missing) {
		err = missing
	}
	if err != nil {
		return err
	}
	if a.mute[ref.Registry] {
		return nil
	}
	q := registry.Query{Image: ref, Plain: a.plain(ref.Registry), Rank: a.rank}
	if auth != nil {
		q.Name, q.Secret = auth.Username, auth.Password
	}
	layers, err := a.x.registry.Layers(ctx, q)
	if err == nil {
		a.found = append(a.found, layers)
		return nil
	}
	if refused := registry.Refused(""); !errors.As(err, &refused) {
		a.mute[ref.Registry] = true
	} else if missing != nil {
		return err
	}
	a.unsure(err)
	return nil
}

// platform tells whether an image runs here. What a single image says of itself need not be true, and is
// not believed where an image that runs says it does not; but of several the engine takes none that is not
// for it.
func (a *ahead) platform(image string, said *doc.Distribution) error {
	others := ""
	for _, p := range said.Platforms {
		if p.Architecture == "" || a.rank(p.Architecture, p.Variant) > 0 {
			return nil
		}
		others += " " + current.PlatformName(p.Architecture, p.Variant)
	}
	kind := said.Descriptor.MediaType
	if others == "" || !strings.Contains(kind, "list") && !strings.Contains(kind, "index") && !a.honest() {
		return nil
	}
	return errors.New("image " + image + " is for" + others + ", which does not run on " + a.machine)
}

// honest tells whether the images of the app's containers say of themselves that they run here.
func (a *ahead) honest() bool {
	for _, c := range a.cur.Containers {
		if image := a.cur.Images[c.ImageEngine]; image != nil && c.AppUUID == a.app && !image.Fits(a.cur.Machine) {
			return false
		}
	}
	return true
}

// plain tells whether the engine speaks to a registry without TLS: on this machine, and where it is told to.
func (a *ahead) plain(host string) bool {
	index, known := a.indexes[host]
	name, _, _ := strings.Cut(host, ":")
	return known && !index.Secure || name == "localhost" || net.ParseIP(name).IsLoopback()
}

// amply is by how much a layer may grow when it is unpacked for it to be taken on trust that it fits.
const amply = 5

// fit tells whether there is room for what is to be downloaded. going are the engine ids of images that
// are deleted before. The closer look is for when a rough one does not do.
func (a *ahead) fit(ctx context.Context, free int64, going []string) error {
	if a.need(ctx, nil) <= free {
		return nil
	}
	here := make(chains)
	for id := range a.cur.Images {
		if !slices.Contains(going, id) {
			if _, err := a.store(ctx, id, here); err != nil {
				return err
			}
		}
	}
	gone := maps.Clone(here)
	for _, id := range going {
		freed, err := a.store(ctx, id, gone)
		if err != nil {
			return err
		}
		free += freed
	}
	ctx, cancel := context.WithTimeout(ctx, closerLook)
	defer cancel()
	if need := a.need(ctx, here); need > free {
		return fmt.Errorf("%w: it takes %d MB and %d MB are free", errNoRoom, need/1e6, free/1e6)
	}
	return nil
}

// need is how many bytes the layers take that are not here; without here, roughly and at most. The engine
// keeps what it downloads until it is unpacked; balenaEngine unpacks it as it comes.
func (a *ahead) need(ctx context.Context, here chains) (sum int64) {
	coming := make(chains)
	for _, layers := range a.found {
		c := ""
		for _, l := range layers {
			if c = above(c, l.Diff); here[c] || coming[c] {
				continue
			}
			coming[c] = true
			if !a.cur.Deltas {
				sum += l.Size
			}
			if here == nil {
				sum += l.Size * amply
			} else {
				sum += l.Unpacked(ctx)
			}
		}
	}
	return sum
}

// chains are layers, each together with all below it: the engine stores it once for all images that have
// these.
type chains map[string]bool

// above is the chain that a layer makes with the one below.
func above(chain, diff string) string {
	sum := sha256.Sum256([]byte(chain + diff))
	return string(sum[:])
}

// store adds the layers of an image on the device to those that are here, and tells how many bytes the ones
// take that were not: none where the sizes of single layers cannot be told.
func (a *ahead) store(ctx context.Context, id string, here chains) (size int64, err error) {
	i, err := a.x.engine.Image(ctx, id)
	if err != nil {
		return 0, err
	}
	history, err := a.x.engine.ImageHistory(ctx, id)
	if err != nil {
		return 0, err
	}
	var sizes []int64 // newest first
	for _, h := range history {
		if h.Size > 0 {
			sizes = append(sizes, h.Size)
		}
	}
	c, last, shared := "", len(i.RootFS.Layers)-1, false
	for n, diff := range i.RootFS.Layers {
		if c = above(c, diff); here[c] {
			shared = true
			continue
		}
		here[c] = true
		if len(sizes) == last+1 {
			size += sizes[last-n]
		}
	}
	if !shared {
		size = i.Size
	}
	return size, nil
}
