from tests.prose import in_document, in_python, main


def test_riddles_and_phrases_are_found_in_docstrings_and_comments_with_their_lines():
  source = '"""What it is."""\n\nX = "as it is"  # that\n\n\ndef f():\n  """Gives\n  that of it."""\n'
  assert [(line, phrase) for line, phrase, _ in in_python(source)] == [(1, '"""What'), (8, "that of")]


def test_code_in_documents_is_no_prose():
  assert [found[:2] for found in in_document("a\n```\nas it is\n```\n`that of`, as\nthey are")] == [(5, "as they are")]


def test_the_project_has_none():
  assert main([]) == 0
