package execute

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/desired"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/observe"
)

// localMode takes a managed device into local mode and out of it. What was added on the engine in local mode is removed
// when the device leaves it (docs/spec/cloud.md 8.4).
type localMode struct {
	docs     desired.Documents
	engine   *engine.Client
	watch    *observe.Watcher
	targets  *desired.Targets
	self     string // container of the agent, empty when it runs in none
	log      zerolog.Logger
	recorded atomic.Pointer[inventory]
}

// inventory is the durable note of what the engine had, by engine id and volume name.
type inventory struct {
	Taken      time.Time `json:"taken"` // zero when there is no note
	Containers []string  `json:"containers"`
	Images     []string  `json:"images"`
	Networks   []string  `json:"networks"`
	Volumes    []string  `json:"volumes"`
}

const (
	inventoryName    = "local-mode"
	inventoryVersion = 1
)

func openLocalMode(o Options) (*localMode, error) {
	l := &localMode{docs: o.Docs, engine: o.Engine, watch: o.Watcher, targets: o.Targets, self: o.Host.Container, log: o.Log}
	i := &inventory{}
	if _, err := o.Docs.Load(inventoryName, inventoryVersion, i); err != nil {
		return nil, fmt.Errorf("open note of local mode: %w", err)
	}
	l.recorded.Store(i)
	return l, nil
}

func (l *localMode) record(i *inventory) error {
	if err := l.docs.Save(inventoryName, inventoryVersion, i); err != nil {
		return fmt.Errorf("store note of local mode: %w", err)
	}
	l.recorded.Store(i)
	return nil
}

// enter records what the engine has. Unlike the original it records stopped containers too, so that leave removes
// exactly what was added.
func (l *localMode) enter(ctx context.Context) error {
	now, err := l.list(ctx)
	if err != nil {
		return err
	}
	now.Taken = time.Now()
	return l.record(now)
}

// leave removes what is not in the note and not used by the agent's own container, then the local target and the note.
// It skips what the engine refuses to remove.
func (l *localMode) leave(ctx context.Context) error {
	now, err := l.list(ctx)
	if err != nil {
		return err
	}
	spared, err := l.own(ctx)
	if err != nil {
		return err
	}
	before := l.recorded.Load()
	for _, list := range [...][]string{before.Containers, before.Images, before.Networks, before.Volumes} {
		for _, id := range list {
			spared[id] = true
		}
	}
	for _, kind := range [...]struct {
		name   string
		ids    []string
		remove func(id string) error
	}{
		{"container", now.Containers, func(id string) error { return l.engine.RemoveContainer(ctx, id, true) }},
		{"image", now.Images, func(id string) error { _, err := l.engine.RemoveImage(ctx, id, true); return err }},
		{"network", now.Networks, func(id string) error { return l.engine.RemoveNetwork(ctx, id) }},
		{"volume", now.Volumes, func(id string) error { return l.engine.RemoveVolume(ctx, id) }},
	} {
		for _, id := range kind.ids {
			if spared[id] {
				continue
			}
			err := kind.remove(id)
			if err != nil && engine.IsUnknown(err) {
				return err // not refused: the engine went away
			}
			l.log.Info().Err(err).Str(kind.name, id).Msg("added in local mode, removed")
		}
	}
	if err := l.watch.Inspect(ctx, observe.Everything); err != nil {
		return err
	}
	if err := l.targets.ForgetLocal(); err != nil {
		return err
	}
	return l.record(&inventory{})
}

// list is what the engine has. The network of the device API is the agent's own.
func (l *localMode) list(ctx context.Context) (*inventory, error) {
	containers, errC := l.engine.Containers(ctx)
	images, errI := l.engine.Images(ctx)
	networks, errN := l.engine.Networks(ctx)
	volumes, errV := l.engine.Volumes(ctx)
	if err := errors.Join(errC, errI, errN, errV); err != nil {
		return nil, err
	}
	i := &inventory{}
	for _, c := range containers {
		i.Containers = append(i.Containers, c.Id)
	}
	for _, m := range images {
		i.Images = append(i.Images, m.Id)
	}
	for _, n := range networks {
		if n.Name != compose.SupervisorNetworkName {
			i.Networks = append(i.Networks, n.Id)
		}
	}
	for _, v := range volumes {
		i.Volumes = append(i.Volumes, v.Name)
	}
	return i, nil
}

// own is the agent's container and what it needs.
func (l *localMode) own(ctx context.Context) (map[string]bool, error) {
	used := make(map[string]bool)
	if l.self == "" {
		return used, nil
	}
	c, err := l.engine.Container(ctx, l.self)
	if engine.IsNotFound(err) {
		return used, nil
	}
	if err != nil {
		return nil, err
	}
	used[c.Id], used[c.Image] = true, true
	for _, m := range c.Mounts {
		used[m.Name] = true
	}
	for name := range c.NetworkSettings.Networks {
		n, err := l.engine.Network(ctx, name)
		if err != nil {
			return nil, err
		}
		used[n.Id] = true
	}
	return used, nil
}
