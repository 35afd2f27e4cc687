package update

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"resin-supervisor/update/cloud"
	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

// deed is something done to an object that users follow in the device's log: what is said before it,
// after it, and when it did not succeed (docs/spec/cloud.md 5.5). What is empty is not said.
type deed struct{ begin, done, failed string }

var (
	killing         = deed{"Killing service", "Killed service", "Failed to kill service"}
	removingDead    = deed{"Removing dead container", "", "Error removing dead container"}
	downloading     = deed{"Downloading image", "Downloaded image", "Failed to download image"}
	patching        = deed{"Downloading delta for image", "Downloaded image", "Failed to download image"}
	installing      = deed{"Installing service", "Installed service", "Failed to install service"}
	starting        = deed{"Starting service", "Started service", "Failed to start service"}
	updating        = deed{"", "", "Failed to update service"}
	lookingAhead    = deed{"", "", notBegun}
	deleting        = deed{"Deleting image", "Deleted image", "Failed to delete image"}
	creatingVolume  = deed{"Creating volume", "", "Error creating volume"}
	preparingVolume = deed{"", "", "Error creating volume"}
	removingVolume  = deed{"Removing volume", "", "Error removing volume"}
	creatingNetwork = deed{"Creating network", "", "Error creating network"}
	removingNetwork = deed{"Removing network", "", "Error removing network"}
)

// What is said of a single event.
const (
	alreadyStopped  = "Service is already stopped, removing container"
	alreadyGone     = "Service is already stopped and the container removed"
	exited          = "Service exited"
	restarting      = "Restarting service"
	takingLocks     = "Taking update locks"
	releasingLocks  = "Releasing update locks"
	notBegun        = "Update does not begin"
	deltaProcessing = "Delta still processing remotely. Will retry..."
)

// voice speaks to the users of the device through its log.
type voice func(text string, stderr bool)

// voiceOf is the voice of Options.Say, silent when that is nil.
func voiceOf(say func(text string, stderr bool)) voice {
	if say == nil {
		return func(string, bool) {}
	}
	return say
}

// tell says an event of an object, with what went wrong if something did.
func (v voice) tell(event, object string, err error) {
	if event == "" {
		return
	}
	if object != "" {
		event += " '" + object + "'"
	}
	if err != nil {
		event += " due to '" + cause(err) + "'"
	}
	v(event, err != nil)
}

func cause(err error) string {
	if text := err.Error(); text != "" {
		return text
	}
	return "Unknown cause"
}

// do carries out a deed and says how it went. One that was broken off has no outcome to tell. One that is tried
// again and again says each cause once. of names the object among all; that of a container begins with its app.
func (x *executor) do(d deed, of, object string, f func() error) error {
	key := of + d.failed
	if !x.failing(d, of) {
		x.say.tell(d.begin, object, nil)
	}
	err := f()
	switch {
	case err == nil:
		x.causes.Delete(key)
		x.say.tell(d.done, object, nil)
	case errors.Is(err, cloud.ErrProcessing):
		x.say.tell(deltaProcessing, "", nil)
	case !errors.Is(err, context.Canceled):
		if x.isNew(key, gist(err)) {
			x.say.tell(d.failed, object, err)
		}
	}
	return err
}

// failing tells whether users were told why a deed fails, and nothing since.
func (x *executor) failing(d deed, of string) bool {
	_, told := x.causes.Load(of + d.failed)
	return told
}

// mostCauses is how many causes of one failure are remembered: the newest.
const mostCauses = 8

// isNew tells whether users were not told a cause of a failure yet, and notes that they are now.
func (x *executor) isNew(key, cause string) bool {
	told, _ := x.causes.Load(key)
	list, _ := told.([]string)
	if slices.Contains(list, cause) {
		return false
	}
	x.causes.Store(key, append(list[max(0, len(list)+1-mostCauses):], cause))
	return true
}

// forgetCauses lets the causes of all objects that begin so be told again: somebody wants something new of them.
func (x *executor) forgetCauses(prefix string) {
	x.causes.Range(func(key, _ any) bool {
		if strings.HasPrefix(key.(string), prefix) {
			x.causes.Delete(key)
		}
		return true
	})
}

// gist is a cause without what differs each time: engine ids, times, pairs of addresses, and how much room there is.
func gist(err error) string {
	if errors.Is(err, errNoRoom) {
		err = errNoRoom
	}
	words := strings.Fields(cause(err))
	for i, w := range words {
		from, to, pair := strings.Cut(w, "->")
		if pair && strings.Contains(from, ":") && strings.Contains(to, ":") || isTime(w) {
			w = ""
		}
		words[i] = withoutIDs(w)
	}
	return strings.Join(words, " ")
}

// isTime tells whether a word has a date and a time of day, as in RFC 3339.
func isTime(w string) bool {
	t := strings.LastIndexByte(w, 'T')
	if t < len(time.DateOnly) || len(w) <= t+len(time.TimeOnly) {
		return false
	}
	_, err := time.Parse("2006-01-02T15:04:05", w[t-len(time.DateOnly):t+1+len(time.TimeOnly)])
	return err == nil
}

// withoutIDs is a word without engine ids and digests, which have 64 hexadecimal digits. A whole word of half of that
// counts as one too, not a part of one: names of disks and devices have such.
func withoutIDs(w string) string {
	separates := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	whole := strings.TrimPrefix(strings.TrimFunc(w, separates), "sha256:")
	for _, run := range strings.FieldsFunc(w, separates) {
		hex := strings.Trim(run, "0123456789abcdefABCDEF") == ""
		if hex && (len(run) >= 64 || len(run) >= 32 && run == whole) {
			w = strings.ReplaceAll(w, run, "")
		}
	}
	return w
}

// locked says that an app waits for an update lock.
func (v voice) locked(wait time.Duration, err error) {
	v(fmt.Sprintf("Updates are locked, retrying in %s. Reason: %v", compact(wait), err), false)
}

// compact writes a span as its largest unit alone: 2s, 1m.
func compact(d time.Duration) string {
	d = d.Round(time.Millisecond)
	for _, u := range [...]struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d >= u.size {
			return fmt.Sprintf("%d%s", d/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// contracts says which services the device cannot run (docs/spec/cloud.md 3.8).
func (v voice) contracts(s *target.State, problems []target.Problem) {
	rejected := ""
	for _, p := range problems {
		if s.Apps[p.App].Rejected == "" {
			v(p.Text, true)
			continue
		}
		rejected += "\n  " + p.Text
	}
	if rejected != "" {
		v("Some releases were rejected due to having unmet requirements:"+rejected, true)
	}
}

// serviceObject names a service with the image of its container.
func serviceObject(service, image string) string { return service + " " + image }

func containerObject(c *current.Container) string { return serviceObject(c.ServiceName, c.EngineImage) }

// containerOf names a container among those of all apps.
func containerOf(c *current.Container) string {
	return current.Slot(current.AppKey(c.AppUUID, c.AppID), c.ServiceName+c.ID)
}

func targetObject(s *compose.Service) string { return serviceObject(s.Name, s.Container.Doc.Image) }

// shortName is the name that a composition gives a volume or network, without the app before it.
func shortName(engineName string) string {
	if _, name, ok := strings.Cut(engineName, "_"); ok {
		return name
	}
	return engineName
}

// witness says when services exit and come back, from the events of the engine (docs/spec/cloud.md 5.6).
type witness struct {
	say voice

	mu   sync.Mutex
	seen map[string]lastEvent // by container
}

// lastEvent is the newest event of a container. The stream may begin again before it. Events of different
// containers may have the same time, or come out of its order.
type lastEvent struct {
	action string
	at     int64
	died   bool // the container exited and did not start since
}

// setBack is by how much the clock must have been set back for an event to be no repetition.
const setBack = time.Minute

func newWitness(say voice) *witness { return &witness{say: say, seen: make(map[string]lastEvent)} }

// event takes an event of a supervised container. It tells whether the event is a start that is new.
func (w *witness) event(e doc.Event) (started bool) {
	if e.Action != "die" && e.Action != "start" && e.Action != "destroy" {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.seen[e.Actor.ID]
	if early := last.at - e.TimeNano; early >= 0 && early < int64(setBack) {
		return false // told before
	}
	of := e.Actor.Attributes
	object := serviceObject(compose.NormaliseLabels(of)["io.balena.service-name"], of["image"])
	switch e.Action {
	case "die":
		w.say.tell(exited, object, nil)
	case "start":
		if last.died {
			w.say.tell(restarting, object, nil)
		}
	}
	// What is gone for long comes no more.
	maps.DeleteFunc(w.seen, func(_ string, l lastEvent) bool { return l.action == "destroy" && e.TimeNano-l.at >= int64(setBack) })
	w.seen[e.Actor.ID] = lastEvent{e.Action, e.TimeNano, e.Action == "die"}
	return e.Action == "start"
}
