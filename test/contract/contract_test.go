// Package contract_test proves what contracts of services and malformed targets do to a device of a
// cloud (docs/spec/cloud.md 3.5, 3.7 and 3.8).
package contract_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const rejected = "Some releases were rejected due to having unmet requirements:\n  shop: Services with unmet requirements: web"

// dict is a JSON object.
type dict = map[string]any

// requires is a contract.
func requires(list ...any) dict { return dict{"type": "sw.container", "requires": list} }

// house is a device with the app shop of one service at its first release.
type house struct {
	*harness.Supervisor
	t     *testing.T
	image harness.Image
	app   harness.App
}

func newHouse(t *testing.T, setup harness.Setup) *house {
	t.Helper()
	h := &house{t: t}
	h.Supervisor, _ = harness.NewManaged(t, setup)
	h.image = harness.ServerImage("contract/app:v1").Load(t)
	h.app = harness.Shop("aaaa1", 1, h.image.Service("web", 1))
	h.Start()
	h.Assign(harness.TargetOf(h.app))
	h.PollNow()
	h.WaitSettled(harness.Soon)
	return h
}

// deliver has the cloud deliver the app in this release, its services changed by change.
func (h *house) deliver(app harness.App, change func(services dict)) {
	h.t.Helper()
	entry := harness.TargetOf(app).V3()
	release := entry["apps"].(dict)[harness.ShopUUID].(dict)["releases"].(dict)[app.Commit].(dict)
	change(release["services"].(dict))
	h.Cloud().Assign(h.UUID, entry)
	h.PollNow()
}

// contract is a change that gives one service a contract.
func contract(service string, c any) func(dict) {
	return func(services dict) { services[service].(dict)["contract"] = c }
}

// reported waits until the app's release has a status in the cloud.
func (h *house) reported(commit, status string) {
	h.t.Helper()
	harness.Until(h.t, harness.Soon, commit+" reported as "+status, func() error {
		app, _ := h.Cloud().Device(h.t, h.UUID).Apps[harness.ShopUUID].(dict)
		releases, _ := app["releases"].(dict)
		release, _ := releases[commit].(dict)
		if release["update_status"] != status {
			return fmt.Errorf("%v", app)
		}
		return nil
	})
}

// begins waits until the device said something that begins so.
func (h *house) begins(text string) {
	h.t.Helper()
	harness.Until(h.t, harness.Soon, text, func() error {
		if !slices.ContainsFunc(h.DeviceLog(), func(said string) bool { return strings.HasPrefix(said, text) }) {
			return errors.New("not said")
		}
		return nil
	})
}

// cloud.md 43: the running release stays, the new one is reported as rejected, and the log says why;
// a target that the device can meet is applied.
func TestUnmetContract(t *testing.T) {
	h := newHouse(t, harness.Setup{})
	id := h.Containers()["web"].ID
	next := h.app.Released("bbbb2", 2).With(h.app.Services[0].Setting("NEW", "1"))
	h.deliver(next, contract("web", requires(dict{"type": "sw.supervisor", "version": "<2"})))
	h.WaitLogged(rejected, 1)
	h.reported("bbbb2", "rejected")
	if now := h.Containers()["web"]; now.ID != id || !now.State.Running {
		t.Errorf("the running release was touched: %+v", now)
	}
	h.Restart()
	h.WaitListed()
	h.reported("bbbb2", "rejected")
	if now := h.Containers()["web"]; now.ID != id || !now.State.Running {
		t.Error("the running release was touched after a restart")
	}
	kernel, _, _ := strings.Cut(runningKernel(t), "-") // host.md 8: what follows is no part of its version
	met := requires(dict{"type": "sw.supervisor", "version": ">=2"}, dict{"type": "hw.device-type", "slug": "raspberrypi3"},
		dict{"type": "arch.sw", "slug": "armv7hf"}, dict{"type": "sw.os", "slug": "balena-os", "version": "6.4.*"},
		dict{"type": "sw.kernel", "slug": "linux", "version": ">=" + kernel},
		dict{"or": []any{dict{"type": "sw.l4t", "version": ">=32"}, dict{"type": "hw.device-type", "slug": "raspberrypi3"}}})
	h.deliver(next, contract("web", met))
	h.Expect(harness.TargetOf(next))
	h.WaitSettled(harness.Soon)
	h.deliver(next.Released("cccc3", 3), contract("web", requires(dict{"type": "sw.l4t"})))
	h.reported("cccc3", "rejected")
}

func runningKernel(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Release[:])
}

// cloud.md 44: an optional service that cannot run here is left out, the rest runs.
func TestOptionalService(t *testing.T) {
	h := newHouse(t, harness.Setup{})
	next := h.app.Released("bbbb2", 2).With(h.app.Services[0], h.image.Service("gpu", 2).Labelled("io.balena.features.optional", "1"),
		h.image.Service("npu", 3).Labelled("io.resin.features.optional", "true"))
	h.deliver(next, func(services dict) {
		contract("gpu", requires(dict{"type": "sw.l4t"}))(services)
		contract("npu", requires(dict{"type": "sw.l4t"}))(services)
	})
	h.WaitLogged("Not running containers because of contract violations: gpu. npu", 1)
	h.Expect(harness.TargetOf(next.With(next.Services[0])))
	h.WaitSettled(harness.Soon)
}

// cloud.md 45, 39: a contract that is none refuses the release; what runs stays, also over a restart,
// and nothing of the release is stored. Q6: the configuration and other apps are taken.
func TestMalformedContract(t *testing.T) {
	h := newHouse(t, harness.Setup{})
	id := h.Containers()["web"].ID
	next := h.app.Released("bbbb2", 2).With(h.app.Services[0].Setting("NEW", "1"))
	h.deliver(next, contract("web", requires(dict{"type": "hw.gpu"})))
	h.begins("Could not move to new release: The contract for service web failed validation, with error: ")
	h.Restart()
	h.WaitListed()
	h.PollNow()
	if now := h.Containers()["web"]; now.ID != id || !now.State.Running {
		t.Errorf("the running release was touched: %+v", now)
	}
	if strings.Contains(h.ReadFile("documents/target.json"), `"requires"`) {
		t.Error("the malformed contract was stored")
	}
	h.deliver(next, contract("web", "x"))
	h.deliver(next, func(services dict) { services["web"].(dict)["image"] = 7 })
	h.begins("Could not move to new release: Invalid target state.")
	if now := h.Containers()["web"]; now.ID != id || !now.State.Running {
		t.Errorf("the running release was touched: %+v", now)
	}
	h.deliver(next, func(dict) {})
	h.Expect(harness.TargetOf(next))
	h.WaitSettled(harness.Soon)
}

// cloud.md 42: what the cloud delivers of the agent and of the host OS is never pulled nor created.
func TestForeignServices(t *testing.T) {
	h := newHouse(t, harness.Setup{})
	entry := harness.TargetOf(h.app).V3()
	add := func(uuid string, isHost bool, services ...harness.Service) {
		app := harness.App{ID: len(entry["apps"].(dict)) + 50, UUID: uuid, Name: "a" + uuid[:4], Commit: "dddd4", Release: 4, Services: services}
		doc := harness.TargetOf(app).V3()["apps"].(dict)[uuid].(dict)
		doc["class"], doc["is_host"] = "app", isHost
		entry["apps"].(dict)[uuid] = doc
	}
	for _, agent := range []string{"52e35121417640b1b28a680504e4039b", "900de4f3cbac4b9bbd232885a35e407b", "2e66a95795c149959c69472a8c2f92b8",
		"531b357e155c480cbec0fdd33041a1f5", "6822565f766e413e96d9bebe2227cdcc"} {
		add(agent, false, h.image.Service("main", 11), h.image.Service("balena-supervisor", 12), h.image.Service("core", 13))
	}
	add("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true, h.image.Service("hostapp", 21).Labelled("io.balena.image.store", "root").Labelled("io.balena.image.class", "hostapp"),
		h.image.Service("overlay", 22).Labelled("io.balena.image.class", "overlay"), h.image.Service("extra", 23))
	h.Cloud().Assign(h.UUID, entry)
	h.PollNow()
	harness.Until(t, harness.Soon, "the one service for us", func() error {
		all, err := h.Engine.Supervised()
		var names []string
		for _, c := range all {
			names = append(names, c.Service())
		}
		slices.Sort(names)
		if err == nil && !slices.Equal(names, []string{"extra", "web"}) {
			err = fmt.Errorf("%q", names)
		}
		return err
	})
	harness.Until(t, harness.Soon, "the target reached", h.Idle)
	for _, line := range h.LogLines("step begins") {
		for _, name := range []string{"main", "core", "balena-supervisor", "hostapp", "overlay"} {
			if line["service"] == name {
				t.Errorf("%v", line)
			}
		}
	}
}
