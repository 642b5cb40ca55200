"""What a bulk run keeps of the predictions that it has written."""

from prelabel.core.types import Labeled
from prelabel.runs.writing import labels_of
from prelabel.studio.label_config import parse_label_config
from prelabel.studio.predictions import batch_item

CONFIG = parse_label_config("""<View>
  <Text name="text" value="$text"/><TextArea name="reasoning" toName="text"/>
  <Choices name="intent" toName="text"><Choice value="refund"/><Choice value="other"/></Choices>
</View>""")


def test_what_a_prediction_says_of_its_labels_is_no_label() -> None:
    item = batch_item(Labeled({"intent": ("refund",)}, 0.8, "Asks for money."), CONFIG, "v1")

    assert len(item["result"]) == 2
    assert labels_of(item) == {"intent": ("refund",)}
