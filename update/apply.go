package update

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/registry"
	"resin-supervisor/update/settings"
)

// executor carries out steps, one call each. It holds no policy: what to do, and whether, is the
// plan's. Every method leaves the current state true to the engine before it returns, also when it
// fails, so that the next plan starts from what is.
type executor struct {
	engine      *engine.Client
	watch       *watch
	cell        *cell
	locks       *locks
	book        *book
	auth        func(registry string) *doc.AuthConfig
	reboot      reboot
	goDown      func(ctx context.Context, force bool) error // reboots the device
	deltas      Deltas
	local       *localMode
	targets     *targets
	preloadPath string
	backup      string // path of the volumes' backup
	looked      func() // the preload file was looked at
	registry    registry.Get
	free        func(engineRoot string) (int64, error)
	vpn         func(ctx context.Context, on bool, begin func()) error
	// appUUID asks the cloud for the uuid of an app, nil when nobody can.
	appUUID func(ctx context.Context, id int) (string, error)
	// settings are those in effect; storeSettings makes config.json say the same.
	settings      func() settings.Settings
	storeSettings func(settings.Settings) error
	// noteFirmware tells the host of the volume of extra firmware.
	noteFirmware func(volume string) error
	say          voice
	causes       sync.Map // why deeds fail, as users were told: gists ([]string) by object and deed, none since it succeeded
	log          zerolog.Logger
}

// run carries out one step. force overrides update locks.
func (x *executor) run(ctx context.Context, s plan.Step, force bool) error {
	switch s.Kind {
	case plan.Look:
		return x.lookAhead(ctx, s)
	case plan.Fetch:
		return x.fetch(ctx, s)
	case plan.Save:
		return x.save(ctx, s)
	case plan.RemoveImage:
		return x.removeImage(ctx, s)
	case plan.CleanUp:
		return x.cleanUp(ctx, s)
	case plan.PrepareVolume:
		return x.prepareVolume(ctx, s.Object)
	case plan.CreateVolume:
		return x.createVolume(ctx, s.Volume)
	case plan.Restore:
		return x.restore(ctx, s)
	case plan.RemoveVolume:
		return x.dropVolume(ctx, s.Object)
	case plan.CreateNetwork:
		return x.createNetwork(ctx, s.Network)
	case plan.RemoveNetwork:
		return x.removeNetwork(ctx, s.Object, s.IDs)
	case plan.TakeLock:
		x.say.tell(takingLocks, "", nil)
		return x.locks.take(ctx, s.AppID, s.Services, force)
	case plan.ReleaseLock:
		x.say.tell(releasingLocks, "", nil)
		return x.locks.release(s.AppID)
	case plan.SweepLock:
		return x.locks.sweep(s.AppID)
	case plan.Kill:
		return x.kill(ctx, s.Container, s.Keep)
	case plan.Remove:
		return x.removeDead(ctx, s.Container, s.Keep)
	case plan.Stop:
		return x.stop(ctx, s.Container, s.User)
	case plan.Rename:
		return x.rename(ctx, s)
	case plan.Start:
		return x.start(ctx, s)
	case plan.HandOver:
		return x.handOver(ctx, s)
	case plan.Restart:
		return x.restart(ctx, s)
	case plan.RequireReboot:
		return x.requireReboot(s)
	case plan.SwitchVPN:
		return x.switchVPN(ctx, s)
	case plan.Preload:
		return x.preload(ctx)
	case plan.Set:
		return x.configure(s)
	case plan.SetBoot:
		return x.setBoot(s)
	case plan.EnterLocal:
		return x.local.enter(ctx)
	case plan.LeaveLocal:
		return x.local.leave(ctx)
	case plan.Reboot:
		return x.goDown(ctx, force)
	case plan.SetCommit:
		return x.book.commit(s.AppUUID, s.Commit, s.Source)
	case plan.RollBack:
		return x.book.fail(s.AppUUID, s.Source, s.Reason)
	}
	return fmt.Errorf("unknown step %q", s.Kind)
}

// doing shows work on a container in the current state until the returned function is called.
func (x *executor) doing(subject, status string, r current.Record) (done func()) {
	x.cell.note(func(s *current.State) *current.State {
		return s.WithDoing(subject, current.Doing{Status: status, AppID: r.AppID, For: r})
	})
	return func() {
		x.cell.fold(func(s *current.State) *current.State { return s.WithoutDoing(subject) })
	}
}

func recordOf(c *current.Container) current.Record {
	return current.Record{
		AppID: c.AppID, AppUUID: c.AppUUID, ServiceID: c.ServiceID, ServiceName: c.ServiceName,
		ImageID: c.ImageID, ReleaseID: c.ReleaseID, Commit: c.Commit,
	}
}

// kill stops a container, for as long as its own grace period takes, and removes it, with keep without its
// anonymous volumes.
func (x *executor) kill(ctx context.Context, c *current.Container, keep bool) error {
	defer x.doing(c.ID, "Stopping", recordOf(c))()
	defer x.hold(c.ID)()
	err := x.do(killing, containerOf(c), containerObject(c), func() error {
		return x.change(c.ID, true, func() error {
			if err := x.stopped(ctx, c, true, false); err != nil {
				return err
			}
			return x.remove(ctx, c, keep)
		})
	})
	return x.observeGone(c.ID, err)
}

// remove removes a container that does not run. Its anonymous volumes go with it, or are kept for the next one.
func (x *executor) remove(ctx context.Context, c *current.Container, keep bool) error {
	if len(c.Anonymous) == 0 {
		return x.engine.RemoveContainer(ctx, c.ID, false)
	}
	if keep {
		if err := x.book.keepVolumes(c); err != nil {
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
func (x *executor) handedOn(c *current.Container) bool {
	for _, other := range x.cell.load().Containers {
		for name := range c.Anonymous {
			if _, has := other.Anonymous[name]; has && other.ID != c.ID {
				return true
			}
		}
	}
	return false
}

// removeDead removes a container that the engine could not remove before.
func (x *executor) removeDead(ctx context.Context, c *current.Container, keep bool) error {
	defer x.doing(c.ID, "Stopping", recordOf(c))()
	defer x.hold(c.ID)()
	err := x.do(removingDead, containerOf(c), containerObject(c), func() error {
		return x.change(c.ID, true, func() error { return x.remove(ctx, c, keep) })
	})
	return x.observeGone(c.ID, err)
}

// change does work that changes a container. With told, the event stream must tell of it.
func (x *executor) change(id string, told bool, work func() error) error {
	since := x.watch.pulse.begin()
	err := work()
	x.watch.pulse.end(since, id, told && err == nil)
	return err
}

// hold keeps events of a container from causing looks at it until the returned function is called.
func (x *executor) hold(id string) (done func()) {
	x.watch.hold(id)
	return func() { x.watch.unhold(id) }
}

// stopped stops a container, which it notes before; removed says that it is removed next, and user that a
// user wants the stop.
func (x *executor) stopped(ctx context.Context, c *current.Container, removed, user bool) error {
	if now := x.cell.load().Containers[c.ID]; now != nil {
		c = now
	}
	if c.Running || user {
		if err := x.book.stopping(c, user, removed); err != nil {
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
		x.say.tell(alreadyStopped, containerObject(c), nil)
	case status == fasthttp.StatusNotFound:
		x.say.tell(alreadyGone, containerObject(c), nil)
	}
	return nil
}

// stop stops a container and keeps it; user says that a user wants it.
func (x *executor) stop(ctx context.Context, c *current.Container, user bool) error {
	defer x.doing(c.ID, "Stopping", recordOf(c))()
	defer x.hold(c.ID)()
	err := x.do(killing, containerOf(c), containerObject(c), func() error {
		return x.change(c.ID, c.Running, func() error { return x.stopped(ctx, c, false, user) })
	})
	err = errors.Join(err, x.observe(c.ID))
	if now := x.cell.load().Containers[c.ID]; user && err != nil && now != nil && now.Running {
		err = errors.Join(err, x.book.starting(c.ID)) // the user was told that it goes on
	}
	return err
}

// observe looks at a container after work on it. It has a time of its own: the look matters most
// when the work was broken off.
func (x *executor) observe(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	return x.watch.look(ctx, object{"container", id})
}

// observeGone notes that a container is gone, as the engine answered; after an error it looks.
func (x *executor) observeGone(id string, err error) error {
	if err != nil {
		return errors.Join(err, x.observe(id))
	}
	x.watch.gone(id)
	return nil
}

// lookTimeout bounds one look at one object.
const lookTimeout = time.Minute

// rename gives a container that did not change the name of its new release.
func (x *executor) rename(ctx context.Context, s plan.Step) error {
	name := compose.ContainerName(s.Service.Name, s.Service.ImageID, s.ReleaseID, s.Commit)
	defer x.hold(s.Container.ID)()
	err := x.do(updating, current.Slot(s.AppUUID, s.Service.Name), targetObject(s.Service), func() error {
		err := x.change(s.Container.ID, true, func() error { return x.engine.RenameContainer(ctx, s.Container.ID, name) })
		return x.nameTaken(err, name, s)
	})
	return errors.Join(err, x.observe(s.Container.ID))
}

// start creates the container where there is none, joins its further networks and starts it.
func (x *executor) start(ctx context.Context, s plan.Step) error {
	if s.Container != nil {
		if s.User {
			if err := x.book.starting(s.Container.ID); err != nil {
				return err
			}
		}
		return x.launch(ctx, s.Container.ID, recordOf(s.Container), s.Container.EngineImage)
	}
	var id string
	d, of := installing, current.Slot(s.AppUUID, s.Service.Name)
	if x.failing(starting, of) {
		d.begin, d.done = "", "" // a container beside the old one is made anew for each try
	}
	err := x.do(d, of, targetObject(s.Service), func() (err error) {
		id, err = x.create(ctx, s)
		return err
	})
	if err != nil || !s.Service.Running || s.Hold {
		return err
	}
	return x.launch(ctx, id, s.Records[0], s.Service.Container.Doc.Image)
}

// restart replaces the containers of a service by one of the target.
func (x *executor) restart(ctx context.Context, s plan.Step) error {
	for _, c := range x.cell.load().Containers {
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

// create makes a container. When the answer was lost or the name is taken, the container of that
// name is looked at, so that the next plan knows of it.
func (x *executor) create(ctx context.Context, s plan.Step) (id string, err error) {
	r := s.Records[0]
	defer x.doing(current.Slot(r.AppUUID, r.ServiceName), "Installing", r)()
	peerID := func(service string) string { return s.Peers[service] }
	body, err := compose.CreateBody(s.Service, peerID)
	if err != nil {
		return "", err
	}
	compose.Inherit(body, s.Service, x.cell.load().Inherited(r.AppID, r.ServiceName, body.Image))
	name := compose.ContainerName(s.Service.Name, s.Service.ImageID, s.ReleaseID, s.Commit)
	defer x.hold(newcomer)()
	since := x.watch.pulse.begin()
	made, err := x.engine.CreateContainer(ctx, name, body)
	x.watch.pulse.end(since, made.Id, err == nil)
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
	if c := x.cell.load().Containers[made.Id]; c != nil {
		diff := compose.Compare(s.Service, c.Config, peerID, compose.Capabilities{NoOomKill: x.cell.load().NoOomKill})
		x.accept("service", s.Service.Name, made.Id, diff, made.Warnings)
	}
	return made.Id, nil
}

// nameTaken says whose the container is that has the name for another one, should that be what err is about. It
// looks at that container, so that the next plan knows of it.
func (x *executor) nameTaken(err error, name string, s plan.Step) error {
	if !engine.IsConflict(err) {
		return err
	}
	err = errors.Join(err, x.observe(name))
	why := " is not the supervisor's: remove or rename it"
	for _, c := range x.cell.load().Containers {
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

// accept takes an object as the engine made it. What it made otherwise than it was asked to is said, noted, and
// nothing is done about it (docs/spec/engine.md 4.2).
func (x *executor) accept(kind, name, id string, diff []compose.Difference, warnings []string) {
	if len(diff) == 0 && x.cell.load().Altered[id] == nil {
		return
	}
	if err := x.book.alter(id, compose.Alter(diff)); err != nil {
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
	x.say(text, true)
	x.log.Warn().Str("reason", text).Msg("the engine made an object otherwise than asked, it stays so")
}

// join attaches a container to its networks beyond the first.
func (x *executor) join(ctx context.Context, id string, s *compose.Service) error {
	for name, endpoint := range compose.Secondary(s) {
		err := x.engine.ConnectNetwork(ctx, name, &doc.Connect{Container: id, EndpointConfig: endpoint})
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) launch(ctx context.Context, id string, r current.Record, image string) error {
	defer x.doing(id, "Starting", r)()
	defer x.hold(id)()
	c := x.cell.load().Containers[id]
	err := x.do(starting, current.Slot(r.AppUUID, r.ServiceName), serviceObject(r.ServiceName, image), func() error {
		err := x.change(id, c != nil && !c.Running, func() error { return x.engine.StartContainer(ctx, id) })
		if c != nil {
			err = foreign(err, envValue(c.Env, "BALENA_DEVICE_TYPE"))
		}
		return err
	})
	return errors.Join(err, x.observe(id))
}

// foreign says of a program that is made for another processor what that means.
func foreign(err error, deviceType string) error {
	if engine.IsExecFormat(err) {
		return fmt.Errorf("application architecture incompatible with device type %s: %w", deviceType, err)
	}
	return err
}

func (x *executor) createVolume(ctx context.Context, v *compose.Volume) error {
	err := x.do(creatingVolume, v.Name, shortName(v.Name), func() error {
		_, err := x.engine.CreateVolume(ctx, &v.Doc)
		return err
	})
	err = errors.Join(err, x.watch.look(ctx, object{"volume", v.Name}))
	if have := x.cell.load().Volumes[v.Name]; have != nil && err == nil {
		x.accept("volume", shortName(v.Name), v.Name, compose.CompareVolume(v, have.Config), nil)
	}
	return err
}

// prepareVolume makes a volume of the device itself, without labels, and tells the host of it, which
// looks for firmware there (docs/spec/engine.md 3.1). One that exists stays as it is.
func (x *executor) prepareVolume(ctx context.Context, name string) error {
	return x.do(preparingVolume, name, name, func() error {
		_, err := x.engine.Volume(ctx, name)
		if engine.IsNotFound(err) {
			_, err = x.engine.CreateVolume(ctx, &doc.VolumeCreate{Name: name})
		}
		if err != nil {
			return err
		}
		return x.noteFirmware(name)
	})
}

func (x *executor) removeVolume(ctx context.Context, name string) error {
	err := x.do(removingVolume, name, shortName(name), func() error { return x.engine.RemoveVolume(ctx, name) })
	return errors.Join(err, x.watch.look(ctx, object{"volume", name}))
}

// dropVolume removes a volume that is not wanted. An anonymous one that the engine does not remove, since
// something foreign uses it, is that one's from now on: no release waits for it.
func (x *executor) dropVolume(ctx context.Context, name string) error {
	err := x.removeVolume(ctx, name)
	if _, ours := x.cell.load().Anonymous[name]; ours && (err == nil || !engine.IsUnknown(err)) {
		if err != nil {
			x.log.Warn().Err(err).Str("volume", name).Msg("an anonymous volume stays with the engine")
		}
		return x.book.dropVolume(name)
	}
	return err
}

func (x *executor) createNetwork(ctx context.Context, n *compose.Network) error {
	id, warning := n.Name, ""
	err := x.do(creatingNetwork, n.Name, shortName(n.Name), func() error {
		made, err := x.engine.CreateNetwork(ctx, &n.Doc)
		if err == nil {
			id, warning = made.Id, made.Warning
		}
		return err
	})
	err = errors.Join(err, x.watch.look(ctx, object{"network", id}))
	if have := x.cell.load().Networks[id]; have != nil && err == nil {
		x.accept("network", shortName(n.Name), id, compose.CompareNetwork(n, have.Config), []string{warning})
	}
	return err
}

func (x *executor) removeNetwork(ctx context.Context, name string, ids []string) error {
	var errs error
	for _, id := range ids {
		err := x.do(removingNetwork, name, shortName(name), func() error { return x.engine.RemoveNetwork(ctx, id) })
		errs = errors.Join(errs, err, x.watch.look(ctx, object{"network", id}))
	}
	return errs
}
