// Package report_test proves what a device tells its cloud, when, and what of it is tried again
// (docs/spec/cloud.md 4, A.2).
package report_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

// soon is enough for a report, which may have to wait for 10 s after the one before.
const soon = 2 * harness.Soon

// beside is a device without containers in a test that runs while others of its kind do.
func beside(t *testing.T) (*harness.Supervisor, *fakecloud.Cloud) {
	t.Helper()
	s, cloud := harness.NewManaged(t, harness.Setup{WithoutContainers: true,
		Config: map[string]any{"appUpdatePollInterval": 600000}})
	s.Assign(shop(1))
	return s, cloud
}

// shop is an app whose release is numbered like its commit.
func shop(release int, services ...harness.Service) harness.Target {
	return harness.TargetOf(harness.Shop(fmt.Sprintf("commit%d", release), release, services...))
}

// service is a service of an image; the image id follows the service.
func service(name string, id int, image string) harness.Service {
	return harness.Service{ID: id, Name: name, ImageID: 1000 + id, Image: image}
}

// local is an image that only the engine has.
func local(t *testing.T, tag string) string {
	t.Helper()
	return harness.ServerImage("report/web:" + tag).Load(t).Name
}

// report is what one report said of the device, with when it came and the answer.
type report struct {
	fakecloud.Request
	fields map[string]any
}

// names are the fields of a report but for the metrics, which change as they like.
func (r report) names() []string {
	var list []string
	for name := range r.fields {
		if !slices.Contains(metrics, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

var metrics = []string{"cpu_usage", "cpu_temp", "memory_usage", "memory_total", "storage_block_device", "storage_total", "storage_usage", "cpu_id"}

// reports are those that were answered so far.
func reports(t *testing.T, s *harness.Supervisor, cloud *fakecloud.Cloud) []report {
	t.Helper()
	var list []report
	for _, r := range cloud.Calls(fakecloud.Report) {
		if r.Status == 0 {
			continue
		}
		fields, ok := r.JSON(t)[s.UUID].(map[string]any)
		if !ok || r.Method != "PATCH" || r.Path != "/device/v3/state" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Content-Encoding") != "" {
			t.Fatalf("report %s %s %v: %s", r.Method, r.Path, r.Header, r.Body)
		}
		list = append(list, report{r, fields})
	}
	return list
}

// dig is a value below a document, nil when there is none.
func dig(doc any, path ...string) any {
	for _, name := range path {
		m, _ := doc.(map[string]any)
		doc = m[name]
	}
	return doc
}

// told waits until what the cloud knows of the shop is as given: the release reached, and of a
// release its status and those of its services, "db exited, web Running".
func told(t *testing.T, s *harness.Supervisor, cloud *fakecloud.Cloud, reached, status, services, commit string) {
	t.Helper()
	harness.Until(t, soon, "report of "+commit+" "+status, func() error {
		app := cloud.Device(t, s.UUID).Apps[harness.ShopUUID]
		release := dig(app, "releases", commit)
		var words []string
		all, _ := dig(release, "services").(map[string]any)
		for name := range all {
			words = append(words, fmt.Sprint(name, " ", dig(all, name, "status")))
		}
		slices.Sort(words)
		if dig(app, "release_uuid") != any(reached) && (reached != "" || dig(app, "release_uuid") != nil) || dig(release, "update_status") != any(status) || strings.Join(words, ", ") != services {
			return fmt.Errorf("the cloud knows %v", app)
		}
		return nil
	})
}

// first waits for the first report.
func first(t *testing.T, s *harness.Supervisor, cloud *fakecloud.Cloud) report {
	t.Helper()
	harness.Until(t, soon, "the first report", func() error {
		if len(reports(t, s, cloud)) == 0 {
			return errors.New("none")
		}
		return nil
	})
	return reports(t, s, cloud)[0]
}

// next waits for a report beyond the first n.
func next(t *testing.T, s *harness.Supervisor, cloud *fakecloud.Cloud, n int) report {
	t.Helper()
	harness.Until(t, soon, "another report", func() error {
		if len(reports(t, s, cloud)) <= n {
			return errors.New("none")
		}
		return nil
	})
	return reports(t, s, cloud)[n]
}
