// A Go test against a broker under control:
//
//	kwire serve --memory --topic orders --control 9644
//	go test ./...
package orders

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func ask(t *testing.T, method, path, body string) map[string]any {
	t.Helper()
	url := env("KWIRE_CONTROL_URL", "http://127.0.0.1:9644") + path
	request, _ := http.NewRequest(method, url, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	value := map[string]any{}
	if err := json.NewDecoder(answer.Body).Decode(&value); err != nil || answer.StatusCode >= 400 {
		t.Fatal(answer.Status, value, err)
	}
	return value
}

func TestAnOrderSurvivesTwoLeaderChanges(t *testing.T) {
	ask(t, "POST", "/v1/faults",
		`{"name": "moved", "api": "Produce", "topic": "orders", "error": "NOT_LEADER_OR_FOLLOWER", "times": 2}`)
	client, err := kgo.NewClient(
		kgo.SeedBrokers(env("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(context.Background(), kgo.StringRecord("one")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if fired := ask(t, "DELETE", "/v1/faults/moved", "")["fired"]; fired != 2.0 {
		t.Fatalf("the fault fired %v times", fired)
	}
}
