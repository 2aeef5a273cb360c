from unseen.instance_evidence.evidence_wording import mean_share, shares
from unseen.instance_evidence.record import Mean


def test_mean_retention_is_written_with_its_interval():
    assert mean_share(Mean(mean=0.5, interval=(0.4, 0.61), instances=4, images=4)) == (
        "50 % [40 – 61 %]"
    )
    assert mean_share(Mean(mean=0.5, interval=(None, None), instances=1, images=1)) == "50 %"
    assert mean_share(Mean(mean=None, interval=(None, None), instances=0, images=0)) == "–"
    assert (
        shares({"object/sky": 0.2, "object/tree": 0.7, "object/none": 0.0}) == "tree 70 %, sky 20 %"
    )
