package execute

import (
	"context"
	"errors"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/userlog"
)

func (x *Executor) createVolume(ctx context.Context, v *compose.Volume) error {
	err := x.users.Do(userlog.CreatingVolume, v.Name, userlog.ShortName(v.Name), func() error {
		_, err := x.engine.CreateVolume(ctx, &v.Doc)
		return err
	})
	err = errors.Join(err, x.watch.Inspect(ctx, observe.Volume(v.Name)))
	if have := x.store.Load().Volumes[v.Name]; have != nil && err == nil {
		x.accept("volume", userlog.ShortName(v.Name), v.Name, compose.CompareVolume(v, have.Config), nil)
	}
	return err
}

// prepareVolume creates a volume of the device itself, without labels, unless it exists. It tells the host its name,
// since the host looks for firmware there (docs/spec/engine.md 3.1).
func (x *Executor) prepareVolume(ctx context.Context, name string) error {
	return x.users.Do(userlog.PreparingVolume, name, name, func() error {
		_, err := x.engine.Volume(ctx, name)
		if engine.IsNotFound(err) {
			_, err = x.engine.CreateVolume(ctx, &doc.VolumeCreate{Name: name})
		}
		if err != nil {
			return err
		}
		return x.host.NoteFirmware(name)
	})
}

func (x *Executor) removeVolume(ctx context.Context, name string) error {
	err := x.users.Do(userlog.RemovingVolume, name, userlog.ShortName(name), func() error { return x.engine.RemoveVolume(ctx, name) })
	return errors.Join(err, x.watch.Inspect(ctx, observe.Volume(name)))
}

// dropVolume removes a volume that is not wanted. When the engine keeps an anonymous volume, because a container of
// somebody else uses it, the agent forgets that volume: no release waits for it.
func (x *Executor) dropVolume(ctx context.Context, name string) error {
	err := x.removeVolume(ctx, name)
	if _, ours := x.store.Load().Anonymous[name]; ours && (err == nil || !engine.IsUnknown(err)) {
		if err != nil {
			x.log.Warn().Err(err).Str("volume", name).Msg("an anonymous volume stays with the engine")
		}
		return x.ledger.DropVolume(name)
	}
	return err
}
