package update

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/inotify"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/plan"
)

// handOver starts the new container beside the old one and removes the old one when the new one
// says that it took over, or when the time for it is up (spec/engine.md 6, D1, D3).
func (x *executor) handOver(ctx context.Context, s plan.Step) error {
	old := s.Container
	keepDown := &doc.ContainerUpdate{RestartPolicy: doc.RestartPolicy{Name: "no"}}
	if err := x.engine.UpdateContainer(ctx, old.ID, keepDown); err != nil {
		return errors.Join(err, x.observe(old.ID))
	}
	if err := x.engine.RenameContainer(ctx, old.ID, "old_"+old.Name); err != nil {
		return errors.Join(err, x.observe(old.ID))
	}
	begin := s
	begin.Container = nil
	if err := x.start(ctx, begin); err != nil {
		return errors.Join(err, x.observe(old.ID))
	}
	wait, cancel := context.WithTimeout(ctx, s.Service.HandoverTimeout)
	err := x.locks.handedOver(wait, s.AppID, s.Service.Name)
	cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		x.log.Warn().Err(err).Str("service", s.Service.Name).Msg("hand-over goes on without a sign of the new container")
	}
	return x.kill(ctx, old)
}

// handoverFiles are the names by which a container says that it took over.
var handoverFiles = [...]string{"handover-complete", "resin-kill-me"}

// handedOver waits until the service wrote one of the hand-over files, and removes it.
func (l *locks) handedOver(ctx context.Context, appID int, service string) error {
	dir := l.dir.Path(appID, service)
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
