package execute

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/inotify"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/userlog"
)

// handOver starts the new container beside the old one. It removes the old one when the new one says that it took over,
// or when the hand-over timeout is over (docs/spec/engine.md 6, D1, D3).
func (x *Executor) handOver(ctx context.Context, s plan.Step) error {
	old := s.Container
	err := x.users.Do(userlog.Updating, current.Slot(s.AppUUID, s.Service.Name), userlog.TargetService(s.Service), func() error {
		return x.rearrange(ctx, old, doc.RestartPolicy{Name: "no"}, oldPrefix+strings.TrimPrefix(old.Name, oldPrefix))
	})
	if err != nil {
		return errors.Join(err, x.observe(old.ID))
	}
	if s.Keep {
		if err := x.ledger.KeepVolumes(old); err != nil {
			return errors.Join(err, x.callOff(ctx, s), x.observe(old.ID))
		}
	}
	forgetHandover(x.locks.Dir.Path(s.AppID, s.Service.Name))
	begin := s
	begin.Container = nil
	if err := x.start(ctx, begin); err != nil {
		return errors.Join(err, x.callOff(ctx, s), x.observe(old.ID))
	}
	wait, cancel := context.WithTimeout(ctx, s.Service.HandoverTimeout)
	defer cancel()
	err = handedOver(wait, x.locks.Dir.Path(s.AppID, s.Service.Name))
	if err != nil && wait.Err() == nil {
		x.log.Warn().Err(err).Str("service", s.Service.Name).Msg("cannot see when the new container takes over, waiting for the whole hand-over timeout")
		<-wait.Done()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return x.kill(ctx, old, s.Keep)
}

// oldPrefix begins the name of a container that is being replaced by one beside it.
const oldPrefix = "old_"

// rearrange gives a container another restart policy and another name.
func (x *Executor) rearrange(ctx context.Context, c *current.Container, policy doc.RestartPolicy, name string) error {
	if err := x.engine.UpdateContainer(ctx, c.ID, &doc.ContainerUpdate{RestartPolicy: policy}); err != nil {
		return err
	}
	if now := x.store.Load().Containers[c.ID]; now != nil && now.Name == name {
		return nil
	}
	return x.engine.RenameContainer(ctx, c.ID, name)
}

// callOff removes the new container that could not be started. The old one goes on serving as before.
func (x *Executor) callOff(ctx context.Context, s plan.Step) error {
	old := s.Container
	for id, c := range x.store.Load().Containers {
		if c.AppID != s.AppID || c.ServiceName != s.Service.Name || id == old.ID || !c.CreatedAt.After(old.CreatedAt) {
			continue
		}
		if err := errors.Join(x.engine.RemoveContainer(ctx, id, false), x.observe(id)); err != nil {
			return err
		}
	}
	return x.rearrange(ctx, old, old.Config.Doc.HostConfig.RestartPolicy, strings.TrimPrefix(old.Name, oldPrefix))
}

// handoverFiles are the names by which a container says that it took over.
var handoverFiles = [...]string{"handover-complete", "resin-kill-me"}

// forgetHandover removes what an earlier container of a service wrote into its lock directory.
func forgetHandover(dir string) {
	for _, name := range handoverFiles {
		_ = os.Remove(filepath.Join(dir, name)) // a file that stays ends the wait early
	}
}

// handedOver waits until a service wrote one of the hand-over files into its lock directory, and removes the file.
func handedOver(ctx context.Context, dir string) error {
	w, err := inotify.New()
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Add(dir, unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return err
	}
	for {
		for _, name := range handoverFiles {
			if err := os.Remove(filepath.Join(dir, name)); err == nil {
				return nil
			}
		}
		if _, err := w.Read(ctx); err != nil {
			return err
		}
	}
}
