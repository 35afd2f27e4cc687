package target

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A target with more parts than the limit is refused as a whole, from every source. One at the limit is accepted.
func TestBoundOfParts(t *testing.T) {
	f := func(name string, refused string, read func() error) {
		t.Helper()
		err := read()
		var invalid *InvalidError
		switch {
		case refused == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case refused != "" && (!errors.As(err, &invalid) || !strings.Contains(err.Error(), refused)):
			t.Errorf("%s: %v, want %s", name, err, refused)
		}
	}
	list := func(n int, member func(i int) string) string {
		var members []string
		for i := range n {
			members = append(members, member(i))
		}
		return strings.Join(members, ",")
	}
	service := func(i int) string {
		return fmt.Sprintf(`"s%d":{"id":1,"image_id":1,"image":"a","environment":{},"labels":{}}`, i)
	}
	serviceV2 := func(i int) string {
		return fmt.Sprintf(`"%d":{"serviceName":"s%d","imageId":1,"image":"a","environment":{},"labels":{}}`, i, i)
	}
	object := func(i int) string { return fmt.Sprintf(`"o%d":{}`, i) }
	app := func(name, parts string) string {
		return `"` + name + `":{"id":1,"name":"n","releases":{"c":{"id":1,` + parts + `}}}`
	}
	entry := func(apps string) string { return `{"name":"n","config":{},"apps":{` + apps + `}}` }
	for _, extra := range []int{0, 1} {
		n, refused := maxParts+extra, func(what string) string {
			if extra == 0 {
				return ""
			}
			return "Expecting at most 2000 " + what + " but instead got: 2001"
		}
		cloud := func(name, what, apps string) {
			f("cloud, "+name, refused(what), func() error { _, _, err := DecodeV3([]byte(`{"`+device+`":`+entry(apps)+`}`), device); return err })
			f("stored, "+name, refused(what), func() error { _, _, err := DecodeV3Entry([]byte(entry(apps))); return err })
			f("local, "+name, refused(what), func() error { _, err := DecodeLocal([]byte(`{"x":` + entry(apps) + `}`)); return err })
			f("preload, "+name, refused(what), func() error { _, _, err := DecodePreload([]byte(entry(apps)), nil); return err })
		}
		cloud("services", "services", app("a", `"services":{`+list(n, service)+`}`))
		cloud("services of two apps", "services", app("a", `"services":{`+list(n/2, service)+`}`)+","+app("b", `"services":{`+list(n-n/2, service)+`}`))
		cloud("volumes", "volumes", app("a", `"volumes":{`+list(n, object)+`}`))
		cloud("networks", "networks", app("a", `"networks":{`+list(n, object)+`}`))
		cloud("apps", "apps", list(n, func(i int) string { return app(fmt.Sprint("a", i), `"services":{}`) }))
		f("local v2", refused("services"), func() error {
			_, err := DecodeLocal([]byte(`{"local":{"apps":{"1":{"name":"n","commit":"c","releaseId":1,"services":{` + list(n, serviceV2) + `}}}}}`))
			return err
		})
		f("legacy", refused("apps"), func() error {
			_, _, err := DecodePreload([]byte("["+list(n, func(i int) string { return `{"appId":1,"name":"n","commit":"c","imageId":"a"}` })+"]"), nil)
			return err
		})
	}
}
