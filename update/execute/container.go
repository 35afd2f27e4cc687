package execute

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/userlog"
)

// kill stops a container within its own grace period, and removes it. With keep its anonymous volumes stay.
func (x *Executor) kill(ctx context.Context, c *current.Container, keep bool) error {
	defer x.showWork(c.ID, "Stopping", recordOf(c))()
	defer x.watch.Hold(c.ID)()
	err := x.users.Do(userlog.Killing, userlog.ContainerKey(c), userlog.Container(c), func() error {
		return x.change(c.ID, true, func() error {
			if err := x.stopped(ctx, c, true, false); err != nil {
				return err
			}
			return x.remove(ctx, c, keep)
		})
	})
	return x.observeGone(c.ID, err)
}

// remove removes a container that does not run. Its anonymous volumes go with it. With keep they stay for the next
// container.
func (x *Executor) remove(ctx context.Context, c *current.Container, keep bool) error {
	if len(c.Anonymous) == 0 {
		return x.engine.RemoveContainer(ctx, c.ID, false)
	}
	if keep {
		if err := x.ledger.KeepVolumes(c); err != nil {
			return err
		}
		return x.engine.DetachContainer(ctx, c.ID)
	}
	err := x.engine.RemoveContainer(ctx, c.ID, false)
	if err == nil && !x.handedOn(c) {
		x.log.Warn().Str("container", c.Name).Interface("volumes", c.Anonymous).
			Msg("anonymous volumes are removed with their container, a volume with a name would stay")
	}
	return err
}

// handedOn tells whether another container has the anonymous volumes of one.
func (x *Executor) handedOn(c *current.Container) bool {
	for _, other := range x.store.Load().Containers {
		for name := range c.Anonymous {
			if _, has := other.Anonymous[name]; has && other.ID != c.ID {
				return true
			}
		}
	}
	return false
}

// removeDead removes a container that the engine could not remove before.
func (x *Executor) removeDead(ctx context.Context, c *current.Container, keep bool) error {
	defer x.showWork(c.ID, "Stopping", recordOf(c))()
	defer x.watch.Hold(c.ID)()
	err := x.users.Do(userlog.RemovingDead, userlog.ContainerKey(c), userlog.Container(c), func() error {
		return x.change(c.ID, true, func() error { return x.remove(ctx, c, keep) })
	})
	return x.observeGone(c.ID, err)
}

// change does work that changes a container. With expectEvent, the engine must send an event when that succeeds.
func (x *Executor) change(id string, expectEvent bool, work func() error) error {
	return x.watch.Change(expectEvent, func() (string, error) { return id, work() })
}

// stopped records that a container is about to be stopped, and stops it. removed says that the container is removed
// next, and user that a user wants the stop.
func (x *Executor) stopped(ctx context.Context, c *current.Container, removed, user bool) error {
	if now := x.store.Load().Containers[c.ID]; now != nil {
		c = now
	}
	if c.Running || user {
		if err := x.ledger.Stopping(c, user, removed); err != nil {
			return err
		}
	}
	status := fasthttp.StatusNotModified
	if c.Status != "dead" && c.Status != "created" {
		var err error
		if status, err = x.engine.StopContainer(ctx, c.ID); err != nil {
			return err
		}
	}
	switch {
	case status == fasthttp.StatusNotModified && removed:
		x.users.Voice.Event(userlog.AlreadyStopped, userlog.Container(c), nil)
	case status == fasthttp.StatusNotFound:
		x.users.Voice.Event(userlog.AlreadyGone, userlog.Container(c), nil)
	}
	return nil
}

// stop stops a container and keeps it. user says that a user wants the stop.
func (x *Executor) stop(ctx context.Context, c *current.Container, user bool) error {
	defer x.showWork(c.ID, "Stopping", recordOf(c))()
	defer x.watch.Hold(c.ID)()
	err := x.users.Do(userlog.Killing, userlog.ContainerKey(c), userlog.Container(c), func() error {
		return x.change(c.ID, c.Running, func() error { return x.stopped(ctx, c, false, user) })
	})
	err = errors.Join(err, x.observe(c.ID))
	if now := x.store.Load().Containers[c.ID]; user && err != nil && now != nil && now.Running {
		err = errors.Join(err, x.ledger.Starting(c.ID)) // the user was told that it goes on
	}
	return err
}

// observe inspects a container after work on it. It has a timeout of its own, since the inspection matters most when
// the work was cancelled.
func (x *Executor) observe(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), inspectTimeout)
	defer cancel()
	return x.watch.Inspect(ctx, observe.Container(id))
}

// observeGone writes into the current state that a container is gone, as the engine answered. After an error it inspects
// the container.
func (x *Executor) observeGone(id string, err error) error {
	if err != nil {
		return errors.Join(err, x.observe(id))
	}
	x.watch.Gone(id)
	return nil
}

// inspectTimeout bounds the inspection of one container.
const inspectTimeout = time.Minute

// rename gives a container that did not change the name of its new release.
func (x *Executor) rename(ctx context.Context, s plan.Step) error {
	name := compose.ContainerName(s.Service.Name, s.Service.ImageID, s.ReleaseID, s.Commit)
	defer x.watch.Hold(s.Container.ID)()
	err := x.users.Do(userlog.Updating, current.Slot(s.AppUUID, s.Service.Name), userlog.TargetService(s.Service), func() error {
		err := x.change(s.Container.ID, true, func() error { return x.engine.RenameContainer(ctx, s.Container.ID, name) })
		return x.nameTaken(err, name, s)
	})
	return errors.Join(err, x.observe(s.Container.ID))
}

// start creates the container where there is none, joins its further networks and starts it.
func (x *Executor) start(ctx context.Context, s plan.Step) error {
	if s.Container != nil {
		if s.User {
			if err := x.ledger.Starting(s.Container.ID); err != nil {
				return err
			}
		}
		return x.launch(ctx, s.Container.ID, recordOf(s.Container), s.Container.EngineImage)
	}
	var id string
	phrases, key := userlog.Installing, current.Slot(s.AppUUID, s.Service.Name)
	if x.users.Failing(userlog.Starting, key) {
		phrases.Begin, phrases.Done = "", "" // each try makes a new container beside the old one
	}
	err := x.users.Do(phrases, key, userlog.TargetService(s.Service), func() (err error) {
		id, err = x.create(ctx, s)
		return err
	})
	if err != nil || !s.Service.Running || s.Hold {
		return err
	}
	return x.launch(ctx, id, s.Records[0], s.Service.Container.Doc.Image)
}

// restart replaces the containers of a service by one of the target.
func (x *Executor) restart(ctx context.Context, s plan.Step) error {
	for _, c := range x.store.Load().Containers {
		if c.AppID != s.AppID || c.ServiceName != s.Service.Name {
			continue
		}
		if err := x.kill(ctx, c, c.ImageEngine == s.Service.Container.Doc.Image); err != nil {
			return err
		}
	}
	s.Container = nil
	return x.start(ctx, s)
}

// create creates a container. When the answer was lost or the name is taken, it inspects the container of that name, so
// that the next plan knows that container.
func (x *Executor) create(ctx context.Context, s plan.Step) (id string, err error) {
	r := s.Records[0]
	defer x.showWork(current.Slot(r.AppUUID, r.ServiceName), "Installing", r)()
	peerID := func(service string) string { return s.Peers[service] }
	body, err := compose.CreateBody(s.Service, peerID)
	if err != nil {
		return "", err
	}
	compose.Inherit(body, s.Service, x.store.Load().Inherited(r.AppID, r.ServiceName, body.Image))
	name := compose.ContainerName(s.Service.Name, s.Service.ImageID, s.ReleaseID, s.Commit)
	defer x.watch.Hold(observe.PendingCreate)()
	var made doc.Created
	err = x.watch.Change(true, func() (string, error) {
		made, err = x.engine.CreateContainer(ctx, name, body)
		return made.Id, err
	})
	if err != nil {
		if engine.IsUnknown(err) {
			err = errors.Join(err, x.observe(name))
		}
		return "", x.nameTaken(err, name, s)
	}
	err = x.join(ctx, made.Id, s.Service)
	if err = errors.Join(err, x.observe(made.Id)); err != nil {
		return made.Id, err
	}
	if c := x.store.Load().Containers[made.Id]; c != nil {
		diff := compose.Compare(s.Service, c.Config, peerID, compose.Capabilities{NoOomKill: x.store.Load().NoOomKill})
		x.accept("service", s.Service.Name, made.Id, diff, made.Warnings)
	}
	return made.Id, nil
}

// nameTaken adds to a name conflict whose container has the name. It inspects that container, so that the next plan
// knows it. Other errors stay as they are.
func (x *Executor) nameTaken(err error, name string, s plan.Step) error {
	if !engine.IsConflict(err) {
		return err
	}
	err = errors.Join(err, x.observe(name))
	why := " is not the supervisor's: remove or rename it"
	for _, c := range x.store.Load().Containers {
		if c.Name != name {
			continue
		}
		if c.AppID == s.AppID && c.ServiceName == s.Service.Name {
			return err // an answer of the engine was lost
		}
		why = " is one of app " + strconv.Itoa(c.AppID) + ": give the release of one of the two apps another id or commit"
	}
	return fmt.Errorf("the container %s%s: %w", name, why, err)
}

// accept takes an object as the engine made it. When the engine changed what it was asked for, accept says and records
// that, and does nothing about it (docs/spec/engine.md 4.2).
func (x *Executor) accept(kind, name, id string, diff []compose.Difference, warnings []string) {
	if len(diff) == 0 && x.store.Load().Altered[id] == nil {
		return
	}
	if err := x.ledger.SetAltered(id, compose.Alter(diff)); err != nil {
		x.log.Error().Err(err).Str(kind, name).Msg("what the engine made otherwise is not stored")
	}
	if len(diff) == 0 {
		return
	}
	text := "The engine made " + kind + " '" + name + "' otherwise than asked: " + compose.Describe(diff) + "."
	if says := strings.Join(warnings, " "); says != "" {
		text += " It says: " + says
	}
	text += " The supervisor leaves it so. Change the release, or let the device support it."
	x.users.Voice(text, true)
	x.log.Warn().Str("reason", text).Msg("the engine made an object otherwise than asked, it stays so")
}

// join attaches a container to its networks beyond the first.
func (x *Executor) join(ctx context.Context, id string, s *compose.Service) error {
	for name, endpoint := range compose.Secondary(s) {
		err := x.engine.ConnectNetwork(ctx, name, &doc.Connect{Container: id, EndpointConfig: endpoint})
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *Executor) launch(ctx context.Context, id string, r current.Record, image string) error {
	defer x.showWork(id, "Starting", r)()
	defer x.watch.Hold(id)()
	c := x.store.Load().Containers[id]
	err := x.users.Do(userlog.Starting, current.Slot(r.AppUUID, r.ServiceName), userlog.Service(r.ServiceName, image), func() error {
		err := x.change(id, c != nil && !c.Running, func() error { return x.engine.StartContainer(ctx, id) })
		if c != nil {
			err = foreign(err, c.EnvValue("BALENA_DEVICE_TYPE"))
		}
		return err
	})
	return errors.Join(err, x.observe(id))
}

// foreign explains the error of a program that is made for another processor.
func foreign(err error, deviceType string) error {
	if engine.IsExecFormat(err) {
		return fmt.Errorf("application architecture incompatible with device type %s: %w", deviceType, err)
	}
	return err
}
