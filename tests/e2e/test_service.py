"""The service in the app, at the app's own address; no browser is needed."""

from pathlib import Path

import httpx

from tests.e2e.conftest import ROOT, Serve

SCRIPT = ROOT / "skrd4ad" / "ui" / "service" / "app.py"


def test_the_app_answers_programs_beside_people(serve: Serve, tiny_data: Path, tmp_path: Path) -> None:
    image = (tiny_data / "machined_disc" / "test" / "scratch" / "000.png").read_bytes()
    env = {
        "SKRD4AD_HOME": str(tmp_path / "work"),
        "SKRD4AD_CHECKPOINTS": str(ROOT / "checkpoints"),
        "SKRD4AD_RUNTIME": "auto",
    }
    secrets = tmp_path / "closed" / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir(parents=True)
    with serve(SCRIPT, env=env, cwd=tmp_path) as url, httpx.Client(base_url=url, timeout=60) as client:
        answer = client.post("/v1/inspect?model=machined_disc", content=image, headers={"Content-Type": "image/png"})
        assert answer.status_code == 200 and answer.json()["images"][0]["score"] > 0
        assert client.get("/v2/health/ready").status_code == 200
        assert "skrd4ad_verdicts_total" in client.get("/metrics").text
        for path in ("/v2/nothing", "/v1/nothing"):
            answer = client.get(path)
            assert answer.status_code == 404 and "there is no such path" in answer.json()["error"]
        assert "<title>" in client.get("/inspect").text and "<title>" in client.get("/docs").text
        foreign = client.get("/v1/models", headers={"Origin": "http://elsewhere.example"})
        assert foreign.status_code == 403
    secrets.write_text('[auth]\nredirect_uri = "http://x/oauth2callback"\ncookie_secret = "x"\n')
    with serve(SCRIPT, env=env, cwd=secrets.parents[1]) as url:
        answer = httpx.get(f"{url}/v1/models")
        assert answer.status_code == 401 and "There is no key" in answer.json()["error"]
