package reconcile

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/update/compose"
	"resin-supervisor/update/current"
	"resin-supervisor/update/desired"
	"resin-supervisor/update/ledger"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/observe"
	"resin-supervisor/update/reconcile/backoff"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
	"resin-supervisor/update/userlog"
	"resin-supervisor/update/view/build"
)

// documents is durable storage that is read again.
type documents map[string][]byte

func (d documents) Load(name string, _ int, v any) (bool, error) {
	if d[name] == nil {
		return false, nil
	}
	return true, json.Unmarshal(d[name], v)
}

func (d documents) Save(name string, _ int, v any) (err error) {
	d[name], err = json.Marshal(v)
	return err
}

// parts are what a test gives to a loop. What is left out does nothing.
type parts struct {
	docs     documents
	state    *current.State
	target   *target.State
	locks    *lock.Dir
	said     *[]string
	device   Device
	reboot   ledger.Reboot
	limit    time.Duration // of the back-off
	endpoint string
}

// newLoop is a loop that carries out no step.
func newLoop(t testing.TB, p parts) *Loop {
	t.Helper()
	if p.docs == nil {
		p.docs = documents{}
	}
	if p.limit == 0 {
		p.limit = time.Minute
	}
	voice := userlog.NewVoice(nil)
	if p.said != nil {
		voice = func(text string, _ bool) { *p.said = append(*p.said, text) }
	}
	book, err := ledger.Open(p.docs, p.reboot, nil)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := desired.Open(desired.Options{Docs: p.docs, Say: voice, Endpoint: p.endpoint, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	store := book.Store()
	if p.state != nil {
		store = observe.NewStore(p.state, nil)
	}
	p.device.Found, _ = settings.Parse(nil)
	p.device.InLocalMode, p.device.Preloaded = func() bool { return false }, func() {}
	l := New(Options{
		Store: store, Ledger: book, Targets: targets, Users: userlog.New(voice), Locks: lock.NewClaims(p.locks), Log: zerolog.Nop(),
		Resolver: desired.NewResolver(p.target, compose.Facts{}, nil, book, voice, zerolog.Nop()),
		Show:     func(*build.Status) {}, Device: p.device,
	}, nil)
	l.backoff = backoff.New(p.limit)
	return l
}

// serveCalls runs what is asked of a loop until the test ends.
func serveCalls(t testing.TB, l *Loop) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for {
			select {
			case f := <-l.calls:
				f()
			case <-ctx.Done():
				return
			}
		}
	}()
}
