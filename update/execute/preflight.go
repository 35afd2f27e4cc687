package execute

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
	"resin-supervisor/update/userlog"
)

// preflight checks images before anything is stopped for them: that they exist, that the device may pull them, that
// they run here, and that there is room.
//
// Only the engine can tell whether an image can be pulled: it asks with the proxies, certificates and mirrors with
// which it would pull. The engine does not tell how large an image is, so the agent reads that from the registry. When
// the engine reaches a registry and the agent does not, the size stays unknown and holds nothing up.
func (x *Executor) preflight(ctx context.Context, s plan.Step) error {
	return x.users.Do(userlog.Preflight, s.AppUUID, s.AppName, func() error { return x.checkImages(ctx, s) })
}

// sizesTimeout bounds how long registries are asked for the sizes of layers. All other calls have bounds of their own:
// a check of more images may take longer.
const sizesTimeout = 5 * time.Minute

func (x *Executor) checkImages(ctx context.Context, s plan.Step) error {
	info, err := x.engine.Info(ctx)
	if err != nil {
		return err
	}
	c := &check{
		x: x, machine: info.Architecture, indexes: info.RegistryConfig.IndexConfigs, cur: x.store.Load(), app: s.AppUUID,
		unreachable: make(map[string]bool),
	}
	if v, err := x.engine.Negotiate(ctx); err == nil && v.Arch == "arm" && c.machine == "aarch64" {
		c.machine = "armv8l" // the kernel is of 64 bits, the engine is not
	}
	here := c.cur.Finder()
	for _, image := range s.Images {
		if here.Find(image) == nil {
			if err := c.image(ctx, image); err != nil {
				return err
			}
		}
	}
	free, err := x.images.Free(info.DockerRootDir)
	if err != nil {
		c.unsure(err)
		return nil
	}
	return c.checkRoom(ctx, free, s.IDs)
}

// check is one preflight.
type check struct {
	x           *Executor
	machine     string
	indexes     map[string]struct{ Secure bool }
	cur         *current.State
	app         string             // uuid
	found       [][]registry.Layer // of the images of which the layers are known
	unreachable map[string]bool    // registries that the agent does not reach: it waits for each once
}

// unsure logs what could not be found out. It does not hold the update up.
func (c *check) unsure(err error) {
	c.x.log.Warn().Err(err).Msg("cannot tell whether there is room for the download")
}

func (c *check) rank(arch, variant string) int {
	return current.Rank(c.machine, arch, variant)
}

// image checks one image.
func (c *check) image(ctx context.Context, image string) error {
	ref, err := target.ParseReference(image)
	if err != nil {
		return err
	}
	auth := c.x.images.Auth(ref.Registry)
	said, missing := c.x.engine.Distribution(ctx, image, auth)
	if missing == nil {
		err = c.platform(image, &said)
	} else if !engine.IsMissing(missing) {
		err = missing
	}
	if err != nil {
		return err
	}
	if c.unreachable[ref.Registry] {
		return nil
	}
	q := registry.Query{Image: ref, Plain: c.plain(ref.Registry), Rank: c.rank}
	if auth != nil {
		q.Name, q.Secret = auth.Username, auth.Password
	}
	layers, err := c.x.images.Registry.Layers(ctx, q)
	if err == nil {
		c.found = append(c.found, layers)
		return nil
	}
	if refused := registry.Refused(""); !errors.As(err, &refused) {
		c.unreachable[ref.Registry] = true
	} else if missing != nil {
		return err
	}
	c.unsure(err)
	return nil
}

// platform tells whether an image runs here. The label of a single image need not be true, and counts only where the
// labels of the images that run are true. Of several images the engine takes none with another label.
func (c *check) platform(image string, said *doc.Distribution) error {
	others := ""
	for _, p := range said.Platforms {
		if p.Architecture == "" || c.rank(p.Architecture, p.Variant) > 0 {
			return nil
		}
		others += " " + current.PlatformName(p.Architecture, p.Variant)
	}
	kind := said.Descriptor.MediaType
	if others == "" || !strings.Contains(kind, "list") && !strings.Contains(kind, "index") && !c.labelsTrusted() {
		return nil
	}
	return errors.New("image " + image + " is for" + others + ", which does not run on " + c.machine)
}

// labelsTrusted tells whether the labels of the images of the app's containers say that they run here.
func (c *check) labelsTrusted() bool {
	for _, other := range c.cur.Containers {
		if image := c.cur.Images[other.ImageEngine]; image != nil && other.AppUUID == c.app && !image.Fits(c.cur.Machine) {
			return false
		}
	}
	return true
}

// plain tells whether the engine speaks to a registry without TLS: on this machine, and where its configuration says
// so.
func (c *check) plain(host string) bool {
	index, known := c.indexes[host]
	name, _, _ := strings.Cut(host, ":")
	return known && !index.Secure || name == "localhost" || net.ParseIP(name).IsLoopback()
}

// worstCaseRatio is the worst-case compression of a layer, used until the real sizes are known.
const worstCaseRatio = 5

// checkRoom tells whether there is room for the download. going are the engine ids of images that are deleted before.
// The real sizes are read only when a rough estimate does not fit.
func (c *check) checkRoom(ctx context.Context, free int64, going []string) error {
	if c.need(ctx, nil) <= free {
		return nil
	}
	here := make(layerChains)
	for id := range c.cur.Images {
		if !slices.Contains(going, id) {
			if _, err := c.addStored(ctx, id, here); err != nil {
				return err
			}
		}
	}
	gone := maps.Clone(here)
	for _, id := range going {
		freed, err := c.addStored(ctx, id, gone)
		if err != nil {
			return err
		}
		free += freed
	}
	ctx, cancel := context.WithTimeout(ctx, sizesTimeout)
	defer cancel()
	if need := c.need(ctx, here); need > free {
		return fmt.Errorf("%w: it takes %d MB and %d MB are free", engine.ErrNoRoom, need/1e6, free/1e6)
	}
	return nil
}

// need is how many bytes the layers take that are not here. Without here it is a rough estimate that is never too low.
// The engine keeps what it downloads until it is unpacked; balenaEngine unpacks while it downloads.
func (c *check) need(ctx context.Context, here layerChains) (sum int64) {
	pending := make(layerChains)
	for _, layers := range c.found {
		id := ""
		for _, l := range layers {
			if id = chainID(id, l.Diff); here[id] || pending[id] {
				continue
			}
			pending[id] = true
			if !c.cur.Deltas {
				sum += l.Size
			}
			if here == nil {
				sum += l.Size * worstCaseRatio
			} else {
				sum += l.Unpacked(ctx)
			}
		}
	}
	return sum
}

// layerChains are layers, each together with all layers below it. The engine stores such a chain once for all images
// that have it.
type layerChains map[string]bool

// chainID is the chain that a layer makes with the chain below.
func chainID(below, diff string) string {
	sum := sha256.Sum256([]byte(below + diff))
	return string(sum[:])
}

// addStored adds the layers of an image on the device to those that are here. size is how many bytes the added layers
// take, 0 where the sizes of single layers cannot be told.
func (c *check) addStored(ctx context.Context, image string, here layerChains) (size int64, err error) {
	i, err := c.x.engine.Image(ctx, image)
	if err != nil {
		return 0, err
	}
	history, err := c.x.engine.ImageHistory(ctx, image)
	if err != nil {
		return 0, err
	}
	var sizes []int64 // newest first
	for _, h := range history {
		if h.Size > 0 {
			sizes = append(sizes, h.Size)
		}
	}
	id, last, shared := "", len(i.RootFS.Layers)-1, false
	for n, diff := range i.RootFS.Layers {
		if id = chainID(id, diff); here[id] {
			shared = true
			continue
		}
		here[id] = true
		if len(sizes) == last+1 {
			size += sizes[last-n]
		}
	}
	if !shared {
		size = i.Size
	}
	return size, nil
}
