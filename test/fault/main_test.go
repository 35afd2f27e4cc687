// Package fault_test breaks things while the supervisor works: the process is killed, the engine
// goes away, calls are lost. Whatever happens, the device must end at its target.
package fault_test

import (
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const soon = 2 * harness.Soon

// shop is an app of a web service that changes with its release, with a volume, and a db that does
// not change.
func shop(commit string, release int, web, db harness.Image) harness.App {
	return harness.App{ID: 31, UUID: harness.ShopUUID, Name: "shop", Commit: commit, Release: release,
		Volumes: map[string]any{"data": map[string]any{}},
		Services: []harness.Service{
			{ID: 1, Name: "web", ImageID: 1000 + release, Image: web.Name,
				Compose: map[string]any{"volumes": []any{"data:/data"}, "depends_on": []any{"db"}}},
			{ID: 2, Name: "db", ImageID: 900, Image: db.Name},
		}}
}

// images are two versions of web and one of db, loaded into the package's engine.
func images(t *testing.T) (v1, v2, db harness.Image) {
	t.Helper()
	return harness.ServerImage("fault/web:v1").Load(t), harness.ServerImage("fault/web:v2").Load(t),
		harness.ServerImage("fault/db:v1").Load(t)
}
